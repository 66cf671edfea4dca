"""Runs against each other: forgetting against keeping, settings against scores, two to four side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import gradio as gr

from unlearn_core.data.sources import UPLOAD
from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.kit.format import score, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.models import growing, named
from unlearn_core.report.kit.palette import LETTERS
from unlearn_core.report.run.live.neighbourhood import PLAY_MAP, neighbourhoods
from unlearn_core.report.runs.comparison import comparison, letters, overlay_figure, run_mark
from unlearn_core.report.runs.settings_table import settings_table
from unlearn_core.report.runs.tradeoff import KEEPING, tradeoff_figure, tradeoff_table
from unlearn_core.service.studio import Studio
from unlearn_core.service.titles import id_mark
from unlearn_core.store.references import references
from unlearn_core.store.table.compare import MAX_COMPARED, compared
from unlearn_core.store.table.rows import MAX_PAGE, RunQuery, RunRow
from unlearn_core.ui.common import (
    AT_ONCE,
    CHOSEN,
    GENERATES,
    PRIVATE,
    TO_THE_TAB,
    chart,
    heading,
    opens_tab,
    panel,
    plot,
    toast,
)
from unlearn_core.ui.page import RunTab
from unlearn_core.ui.panels.setup_panel import on_ground_of
from unlearn_core.ui.tabs.runs_tab import RunsTab
from unlearn_core.ui.web.addresses import put

_UNPLACED = "No run here was scored on what is kept. Bring a retain set under Data, or choose the other score."
_EMPTY = "No finished runs yet. Press Make it forget on the first tab, or start a sweep under Runs."
_TOO_FEW = "Choose at least two runs above, or pick them under Runs."
_ALONE = (
    "This is the only finished run on its model and data. Run another method on the same to see them beside each other."
)


def build_compare_tab(studio: Studio, run: RunTab, runs: RunsTab, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Lay the tab out and wire it; everything is read when the tab is opened."""
    owner = run.session.owner
    heading("Compare", f"Two to {MAX_COMPARED} runs beside each other: scores, curves, and answers to the same prompt.")
    with panel():
        picked = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            max_choices=MAX_COMPARED,
            label="Runs compared",
            info="The first is A, which the others are compared with",
            elem_id="le-compared",
        )
        beside = gr.HTML(elem_id="le-comparison")
        with gr.Row(elem_classes=["le-buttons"]):
            other = gr.Button("Run another method", size="sm", visible=False, elem_id="le-run-another")
    _ask_panel(studio, picked)
    with panel(visible=False) as curves:
        gr.HTML(tag("div", tag("h3", "How their answers faded"), class_="le-plot-title"))
        overlaid = chart("le-overlay")
    with panel(visible=False) as mapped:
        maps = gr.HTML(elem_id="le-maps", js_on_load=PLAY_MAP)
    heading("All runs on the same model and data", "Scores on different ones cannot be compared.")
    with panel():
        with gr.Row():
            ground = gr.Dropdown([], label="Model and data", scale=3, min_width=220)
            keeping = gr.Radio(list(KEEPING), value="Retain set", label="What is kept", scale=2, min_width=200)
        empty = gr.HTML(elem_id="le-compare-empty")
        with gr.Column(visible=False) as charted:
            marks = chart("le-tradeoff")
        marks_table = gr.HTML(elem_id="le-tradeoff-table")
        with gr.Row(elem_classes=["le-buttons"]):
            wiped = gr.Button("Score a wiped copy of this model", size="sm", visible=False, elem_id="le-wipe")
    with gr.Column(visible=False) as settings:
        heading("Settings and scores", "One line a run, across the settings in which they differ.")
        with panel():
            lines = gr.HTML(elem_id="le-settings-table")

    def open_tab(token: str, ids: list[str], chosen: str) -> tuple[object, ...]:
        grounds = _grounds(studio, token)
        known = [value for _, value in grounds]
        rows, _ = studio.store.rows(RunQuery(status="finished", owner=studio.mine(token), limit=200))
        extra, _ = studio.store.rows(RunQuery(ids=tuple(ids))) if ids else ([], 0)
        titles = studio.titles()
        names = {row.id: run_choice(titles.row(row)) for row in (*extra, *rows)}
        kept = [run_id for run_id in ids if run_id in names][:MAX_COMPARED]
        first = next((row.ground for row in extra if row.ground in known), known[0] if known else None)
        ground_now = chosen if chosen in known and not extra else first
        if not kept:  # never empty where there is something to compare: the newest three
            kept = [row.id for row in rows if row.ground == ground_now][:3]
        told = "" if grounds else tag("p", _EMPTY, class_="le-muted")
        return (
            gr.update(choices=grounds, value=ground_now),
            told,
            gr.update(choices=[(title, key) for key, title in names.items()], value=kept),
        )

    def draw(place: str | None, kept: str, ids: list[str], token: str) -> tuple[object, ...]:
        found, points = _rows(studio, place, token), references(studio.store, place) if place else []
        if not found:
            return *[gr.update(visible=False)] * 3, None, "", ""
        rows = [*map(studio.titles().row, found)]
        marked = {run_id: LETTERS[i] for i, run_id in enumerate(ids or [])}
        missing = any(point.model == "wiped" and point.row is None for point in points)
        figure = tradeoff_figure(rows, points, KEEPING[kept], marked)
        told = None if figure["data"] else tag("p", _UNPLACED, class_="le-muted")
        shown = gr.update(visible=True)
        return (
            shown,
            shown,
            gr.update(visible=missing and not studio.public),
            plot(figure),
            join(told, tradeoff_table(rows, points)),
            settings_table(rows),
        )

    def is_alone(ids: list[str], token: str) -> bool:
        """Whether no other finished run was made on the model and data of the one chosen."""
        chosen, _ = studio.store.rows(RunQuery(ids=tuple(ids))) if ids else ([], 0)
        return len(chosen) == 1 and len(_rows(studio, chosen[0].ground, token)) < 2

    def compare(ids: list[str], token: str) -> tuple[object, ...]:
        """The table, whether there is but one run to show, and the curves and maps with their panels."""
        hidden = gr.update(visible=False)
        nothing = hidden, None, hidden, ""
        if len(ids or []) < 2:
            alone = is_alone(ids or [], token)
            return tag("p", _ALONE if alone else _TOO_FEW, class_="le-muted"), gr.update(visible=alone), *nothing
        try:
            runs, titles = compared(studio.store, ids, studio.mine(token)), studio.titles()
            table = comparison([replace(one, record=titles.record(one.record)) for one in runs])
        except LetheError as error:
            return tag("p", error, class_="le-problem", role="alert"), hidden, *nothing
        stories = {run_id: studio.live.story(run_id) for run_id in ids}
        figure, drawn = overlay_figure(letters(ids, stories)), neighbourhoods(stories)
        curves_now, maps_now = gr.update(visible=bool(figure["data"])), gr.update(visible=bool(drawn))
        return table, hidden, curves_now, plot(figure), maps_now, drawn

    def run_another(ids: list[str]) -> tuple[object, ...]:
        """The first tab with the form on what the run alone was made of; only the method is left to choose."""
        with toast("Not opened"):
            record = studio.store.get(ids[0] if ids else "")
        return *on_ground_of(record.spec, shorten(studio.titles().about(record), 40)), gr.Tabs(selected="run")

    def wipe(place: str, token: str, progress: gr.Progress = gr.Progress()) -> None:  # noqa: B008
        with toast("Not scored"):
            rows = _rows(studio, place, token)
            if not rows:
                raise InputError("runs", place, "has no finished run", "Choose a model and data of the list.")
            for part in studio.score_wiped(rows[0].id):
                progress(part.done / part.total, desc=f"Scoring the wiped model: {part.stage}")

    seen = [ground, keeping, picked, owner]
    drawn = [charted, settings, wiped, marks, marks_table, lines]
    opened = tab.select(open_tab, [owner, runs.picked, ground], [ground, empty, picked], **AT_ONCE)
    compared_parts = [beside, other, curves, overlaid, mapped, maps]
    opened.then(draw, seen, drawn, **AT_ONCE).then(compare, [picked, owner], compared_parts, **AT_ONCE)
    picked.change(None, picked, None, js=put("compare", "(ids) => (ids ?? []).join(',')"), **AT_ONCE)
    picked.input(compare, [picked, owner], compared_parts, **CHOSEN)
    gr.on([picked.input, ground.input, keeping.input], draw, seen, drawn, **CHOSEN)
    wiped.click(
        wipe,
        [ground, owner],
        marks_table,
        api_visibility="private",
        concurrency_id="generate",
        show_progress="full",
    ).success(draw, seen, drawn, **AT_ONCE)
    # Through the queue: only then is the page told that what was brought beside the data changed.
    asked = other.click(run_another, picked, [*run.setup.ground, tabs], **PRIVATE)
    asked.success(None, js=TO_THE_TAB, **AT_ONCE)
    opens_tab(runs.compare.click, tabs, "compare")


def _ask_panel(studio: Studio, picked: gr.Dropdown) -> None:
    """One prompt, answered by the original and every compared run from its kept weights."""
    with panel():
        with gr.Row(elem_classes=["le-asking"]):
            prompt = gr.Textbox(
                label="The same prompt for every run",
                lines=2,
                max_lines=6,
                scale=6,
                min_width=220,
                placeholder="Type a question, or how a story begins",
                max_length=4000,
                elem_id="le-compare-prompt",
            )
            ask = gr.Button("Ask them all", variant="primary", scale=1, min_width=110, elem_id="le-compare-ask")
        answers = gr.HTML(elem_id="le-compare-answers")

    def reply(ids: list[str], words: str) -> Iterator[Safe]:
        with toast("No answer"):
            last: dict[str, str] = {}
            for last in studio.ask_runs(ids or [], words):
                yield answer_columns(studio, last, done=False)
            yield answer_columns(studio, last, done=True)

    gr.on([ask.click, prompt.submit], reply, [picked, prompt], answers, trigger_mode="once", **GENERATES)


def answer_columns(studio: Studio, answers: dict[str, str], done: bool) -> Safe:
    """The answers so far, the original first, each run under its letter and name."""
    columns: list[tuple[str, Safe, str]] = []
    for place, (name, words) in enumerate(answers.items(), -1):
        if name == "original":
            columns.append((name, named(name), words))
        else:
            title = studio.titles().record(studio.store.get(name)).name
            columns.append((f"run-{place}", join(run_mark(place), " ", shorten(title, 40)), words))
    return growing(columns, done)


def _grounds(studio: Studio, token: str) -> list[tuple[str, str]]:
    """Title and key of every model and data that has finished runs, the newest first."""
    found, titles = [], studio.titles()
    for key, number in studio.store.values("ground", token if studio.public else None)[:50]:
        rows, _ = studio.store.rows(RunQuery(ground=key, owner=studio.mine(token), limit=1))
        if rows:
            told = titles.row(rows[0])
            data = told.about if told.data.startswith(UPLOAD) else told.data
            name = f"{shorten(told.target, 40)} / {shorten(data, 40)}"
            found.append((f"{name} ({number})", key))
    return found


def _rows(studio: Studio, ground: str | None, token: str) -> list[RunRow]:
    if not ground:
        return []
    query = RunQuery(ground=ground, status="finished", owner=studio.mine(token), limit=MAX_PAGE)
    return studio.store.rows(query)[0]


def run_choice(row: RunRow) -> str:
    """A run as it is offered for comparing: its name, whom or what it forgets, seed, score and the head of its id."""
    title, value = row.summed_up
    total = "" if value is None else f", {title} {score(value)}"
    about = "" if row.about == row.data else f", {shorten(row.about, 30)}"
    return f"{shorten(row.name, 40)}{about} (seed {row.seed}{total}, {id_mark(row.id)})"
