"""All runs of this home: sorted, filtered, paged, picked, named, tagged, deleted, and swept over a grid."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.kit.csvfile import to_csv
from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.runs.runs_table import csv_columns, csv_rows, page_line, runs_table
from unlearn_core.service.studio import Studio
from unlearn_core.store.table.compare import MAX_COMPARED
from unlearn_core.store.table.rows import DAMAGED, MAX_PAGE, PAGE, STATUSES, RunQuery, RunRow
from unlearn_core.ui.common import (
    AT_ONCE,
    PRIVATE,
    confirm_first,
    download,
    heading,
    inform,
    panel,
    problem,
    told_by,
    warn,
)
from unlearn_core.ui.page import RunTab
from unlearn_core.ui.panels.sweep_panel import sweep_form

_ALL = ("All", "")
# The table is plain HTML: one listener tells which button was used, or every tick since the last table that knew them
# all, so that an event that was overtaken by the next one is not missed. Gradio writes a new table into the boxes of
# the old one, which keep what the user did to them: each is set to what its row says and to ticks that came after.
_LISTEN = """
let ticks = [], last = 0;
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-sort]');
  if (button) trigger('select', {sort: button.dataset.sort});
});
element.addEventListener('change', (event) => {
  const box = event.target.closest('input[data-run]');
  if (!box) return;
  last = Math.max(last + 1, Date.now());
  ticks.push([last, box.dataset.run, box.checked]);
  trigger('input', {ticks});
});
new MutationObserver(() => {
  const known = Number(element.querySelector('[data-known]')?.dataset.known ?? 0);
  ticks = ticks.filter(([when]) => when > known);
  for (const box of element.querySelectorAll('input[data-run]')) {
    box.checked = ticks.findLast(([, run]) => run === box.dataset.run)?.[2] ?? box.defaultChecked;
  }
}).observe(element, {childList: true, subtree: true, attributes: true});
"""


class View(TypedDict):
    """What is shown of the table: in which order, and from which row on."""

    sort: str
    descending: bool
    offset: int


_VIEW: View = {"sort": "created", "descending": True, "offset": 0}


@dataclass(frozen=True)
class RunsTab:
    """What the comparing tab needs of this one: the picked runs and the button that goes there."""

    picked: gr.State
    compare: gr.Button


def build_runs_tab(studio: Studio, run: RunTab, tab: gr.Tab) -> RunsTab:
    """Lay the tab out and wire it; the table is read anew whenever the tab is opened."""
    heading(
        "Runs",
        "Your runs on this server, and recorded ones."
        if studio.public
        else "Every run of this home. A name opens its run; tick some to compare, name, tag or delete them.",
    )
    view, picked, known = gr.State(_VIEW), gr.State([]), gr.State(0)  # known: when the last tick in `picked` was made
    latest = gr.State({})  # the read that was asked for last
    with panel(), gr.Row(elem_classes=["le-filters"]):
        text = gr.Textbox(
            label="Search",
            placeholder="Name, tag, method, model or data",
            scale=3,
            min_width=200,
            max_lines=1,
            elem_id="le-search",
        )
        method = gr.Dropdown([_ALL], value="", label="Method", min_width=140, allow_custom_value=True)
        status = gr.Dropdown([_ALL, *((s, s) for s in (*STATUSES, DAMAGED))], value="", label="Status", min_width=140)
        verdict = gr.Dropdown([_ALL], value="", label="Verdict", min_width=140, allow_custom_value=True)
        clear = gr.Button("Clear", size="sm", scale=0, min_width=90)
    filters: list[gr.Textbox | gr.Dropdown] = [text, method, status, verdict]
    rows = gr.HTML(elem_id="le-runs", js_on_load=_LISTEN)
    with gr.Row(elem_classes=["le-buttons"]):
        before = gr.Button("Previous page", size="sm", interactive=False)
        after = gr.Button("Next page", size="sm", elem_id="le-next-page", interactive=False)
        refresh = gr.Button("Refresh", size="sm")
        save = gr.Button("Download as CSV", size="sm", elem_id="le-runs-csv")
    page = gr.HTML(elem_id="le-runs-page")
    chosen = gr.HTML(_picked([]), elem_id="le-picked")
    with gr.Row(elem_classes=["le-buttons"]):
        compare = gr.Button(
            "Compare the picked runs", size="sm", variant="primary", interactive=False, elem_id="le-compare"
        )
        nobody = gr.Button("Pick none", size="sm", interactive=False)
    edit = _edit_form()
    owner = run.session.owner
    table = _Table(studio)
    acts = [compare, nobody, edit.apply, edit.delete]
    shown = [rows, page, view, before, after, picked, known, chosen, *acts]
    asked = [*filters, view, picked, known, latest, owner]

    def pick(ids: list[str], known: float, event: gr.EventData) -> tuple[object, ...]:
        for when, run_id, on in _ticks(told_by(event).get("ticks")):
            if when > known:
                known, ids = when, [*(other for other in ids if other != run_id), *([run_id] if on else [])]
        return ids, known, _picked(ids), *_states(ids)

    def order(seen: View, event: gr.EventData) -> View:
        column = told_by(event).get("sort")
        if not column:
            return seen
        down = not seen["descending"] if seen["sort"] == column else column not in ("name", "method")
        return {"sort": column, "descending": down, "offset": 0}

    # One after the other: two quick picks must not both start from the same list.
    rows.input(pick, [picked, known], [picked, known, chosen, *acts], trigger_mode="always_last", **AT_ONCE)
    rows.select(order, view, view, **AT_ONCE).then(table.read, asked, shown, **AT_ONCE)
    for button, step in ((before, -PAGE), (after, PAGE)):
        button.click(_turn(step), view, view, **AT_ONCE).then(table.read, asked, shown, **AT_ONCE)
    # One after the other again: of two tables for words half typed the older could come last, and stay.
    gr.on([field.change for field in filters], table.begin, asked, shown, trigger_mode="always_last", **AT_ONCE)
    clear.click(lambda: ("", "", "", ""), None, filters, **AT_ONCE)
    for event in (tab.select, refresh.click):
        event(table.choices, owner, [method, verdict], **AT_ONCE)
        event(table.read, asked, shown, **AT_ONCE)
    emptied = nobody.click(lambda: ([], _picked([]), *_states([])), None, [picked, chosen, *acts], **AT_ONCE)
    emptied.then(table.read, asked, shown, **AT_ONCE)
    download(save, table.csv, [*filters, owner])
    _wire_edit(studio, edit, picked, chosen, acts, owner, lambda e: e.then(table.read, asked, shown, **AT_ONCE))
    sweep_form(studio, run, tab, lambda e: e.then(table.read, asked, shown, **AT_ONCE))
    return RunsTab(picked, compare)


class _Table:
    """Reads pages of the store for one visitor."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio

    def begin(self, text: str, method: str, status: str, verdict: str, view: View, *rest: Any) -> tuple[object, ...]:
        """`read` from the first page on: other filters have other pages."""
        return self.read(text, method, status, verdict, {**view, "offset": 0}, *rest)

    def read(
        self,
        text: str,
        method: str,
        status: str,
        verdict: str,
        view: View,
        picked: list[str],
        known: float,
        latest: dict[str, object],
        owner: str,
    ) -> tuple[object, ...]:
        """The table as asked for, and the picks without runs that are gone; nothing once another read was asked for:
        of two tables the older may come last, and would stay."""
        mine = latest["read"] = object()
        titles, query = self.studio.titles(), self._query(text, method, status, verdict, owner)
        query = replace(query, **view)
        rows, total = self.studio.store.rows(query)
        if not rows and query.offset:  # the last page was emptied meanwhile
            view = {**view, "offset": max(0, (total - 1) // PAGE * PAGE)}
            rows, total = self.studio.store.rows(replace(query, **view))
        left = [*filter(self._is_here, picked)]
        if latest["read"] is not mine:
            return (gr.skip(),) * 12
        table = runs_table(
            [*map(titles.row, rows)],
            time.time(),
            picked=picked,
            sort=query.sort,
            descending=query.descending,
            filtered=any((text, method, status, verdict)),
        )
        start, end = view["offset"], view["offset"] + len(rows)
        turn = gr.update(interactive=start > 0), gr.update(interactive=end < total)
        # With the time that they are of, or ticks made meanwhile would not be told again.
        picks = (left, known, _picked(left), *_states(left)) if left != picked else (gr.skip(),) * 7
        return tag("div", table, data_known=known), page_line(start, len(rows), total), view, *turn, *picks

    def _is_here(self, run_id: str) -> bool:
        try:
            self.studio.store.get(run_id)
        except LetheError as error:
            return not isinstance(error, InputError)  # a damaged one can still be deleted
        return True

    def _query(self, text: str, method: str, status: str, verdict: str, owner: str) -> RunQuery:
        return RunQuery(
            text=text or "",
            called=self.studio.titles().called,
            method=method or "",
            status=status or "",
            verdict=verdict or "",
            owner=self.studio.mine(owner),
        )

    def choices(self, owner: str) -> tuple[object, ...]:
        mine = owner if self.studio.public else None
        called = self.studio.titles().methods
        found = [self.studio.store.values(column, mine) for column in ("method", "verdict")]
        return tuple(
            gr.update(choices=[_ALL, *((f"{called.get(v, v)} ({n})", v) for v, n in values)]) for values in found
        )

    def csv(self, text: str, method: str, status: str, verdict: str, owner: str) -> str:
        """Every run that fits the filter, as a file."""
        rows: list[RunRow] = []
        query = self._query(text, method, status, verdict, owner)
        while more := self.studio.store.rows(replace(query, offset=len(rows), limit=MAX_PAGE))[0]:
            rows += more
        path = self.studio.parcels.folder() / "lethe-runs.csv"
        path.write_text(to_csv(csv_columns(rows), csv_rows(rows)), encoding="utf-8")
        return str(path)


@dataclass(frozen=True)
class _Edit:
    name: gr.Textbox
    tags: gr.Textbox
    apply: gr.Button
    delete: gr.Button
    sure: gr.Button
    keep: gr.Button


def _edit_form() -> _Edit:
    with gr.Accordion("Rename, tag or delete the picked runs", open=False, elem_id="le-edit"), panel():
        with gr.Row():
            name = gr.Textbox(
                label="New name",
                info="For one picked run; empty leaves names as they are",
                max_length=80,
                min_width=200,
                elem_id="le-new-name",
            )
            tags = gr.Textbox(
                label="Tags",
                info="Separated by commas; they replace the tags there are",
                max_length=400,
                min_width=200,
                elem_id="le-new-tags",
            )
        with gr.Row(elem_classes=["le-buttons"]):
            apply = gr.Button("Save name and tags", size="sm", interactive=False, elem_id="le-label")
            delete = gr.Button("Delete", size="sm", variant="stop", interactive=False, elem_id="le-delete")
            sure = gr.Button(
                "Yes, delete them and their weights", size="sm", variant="stop", visible=False, elem_id="le-sure"
            )
            keep = gr.Button("Keep them", size="sm", visible=False)
    return _Edit(name, tags, apply, delete, sure, keep)


def _wire_edit(
    studio: Studio,
    edit: _Edit,
    picked: gr.State,
    chosen: gr.HTML,
    acts: Sequence[Block],
    owner: gr.BrowserState,
    reread: Callable[[Dependency], object],
) -> None:
    def label(ids: list[str], name: str, tags: str, token: str) -> tuple[str, str]:
        given = [part for part in tags.split(",") if part.strip()]
        named = name if name.strip() and len(ids) == 1 else None
        kept: list[LetheError] = []
        for run_id in ids:
            try:
                studio.store.label(run_id, token or None, name=named, tags=given or None)
            except LetheError as error:  # deleted meanwhile, for example: the others are changed all the same
                kept.append(error)
        if kept and len(kept) == len(ids):
            raise problem("Not saved", kept[-1])
        if kept:
            warn(f"{count(len(kept), 'run')} not changed", kept[-1])
        inform("Saved", f"{count(len(ids) - len(kept), 'run')} changed.")
        return "", ""

    def delete(ids: list[str], token: str) -> tuple[object, ...]:
        kept, last = [], None
        for run_id in ids:
            try:
                studio.store.delete(run_id, token or None)
            except LetheError as error:
                kept.append(run_id)
                last = error
        if last is not None:
            warn(f"{count(len(kept), 'run')} not deleted", last)
        return kept, _picked(kept), *_states(kept), gr.update(visible=False), gr.update(visible=False)

    reread(edit.apply.click(label, [picked, edit.name, edit.tags, owner], [edit.name, edit.tags], **PRIVATE))
    confirm_first(edit.delete, edit.sure, edit.keep)
    reread(edit.sure.click(delete, [picked, owner], [picked, chosen, *acts, edit.sure, edit.keep], **PRIVATE))


def _picked(ids: list[str]) -> Safe:
    if not ids:
        told = f"Pick 2 to {MAX_COMPARED} runs to compare them, or any number to tag or delete."
    else:
        told = f"{count(len(ids), 'run')} picked."
    return tag("p", told, class_="le-muted", role="status")


def _ticks(told: object) -> list[tuple[float, str, bool]]:
    """When which run was picked, or no longer, as far as the page can have told it, whatever was sent."""
    given = told[-MAX_PAGE:] if isinstance(told, list) else []
    given = [tick for tick in given if isinstance(tick, list) and len(tick) == 3]
    return [(when, run, bool(on)) for when, run, on in given if isinstance(when, int) and isinstance(run, str)]


def _states(ids: list[str]) -> list[object]:
    """Which of compare, pick none, save and delete can be pressed."""
    some = gr.update(interactive=bool(ids))
    return [gr.update(interactive=2 <= len(ids) <= MAX_COMPARED), some, some, some]


def _turn(step: int) -> Callable[[View], View]:
    return lambda view: {**view, "offset": max(0, view["offset"] + step)}
