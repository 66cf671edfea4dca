"""The tab that compares the methods: measured beforehand, with the weights and versions named."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import gradio as gr

from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.runs import subject_boards
from unlearn_core.report.runs.leaderboard import ORDERS, board_figure, board_table, made_with
from unlearn_core.service.studio import Studio
from unlearn_core.system.assets import assets_directory
from unlearn_core.ui.common import CHOSEN, chart, heading, panel, plot

TITLES = {
    "demo": "Bundled model",
    "one_person": "Bundled model, one person",
    "real_model": "SmolLM2-135M, people and places you know",
    "lume": "LUME, 16 + 16 documents",
}
# A head sorts by its column, once more the other way, with what has no number last; the table is plain HTML. Words
# searched for stay where Gradio writes another table under them: its rows are searched too.
_SORT = """
const search = () => {
  const words = (element.querySelector('.le-search')?.value ?? '').toLowerCase();
  for (const row of element.querySelectorAll('tbody tr'))
    row.style.display = row.textContent.toLowerCase().includes(words) ? '' : 'none';
};
element.addEventListener('click', (event) => {
  const head = event.target.closest('thead th'), table = head?.closest('table');
  if (!table) return;
  const at = [...head.parentNode.children].indexOf(head), down = head.getAttribute('aria-sort') !== 'descending';
  for (const one of head.parentNode.children) one.removeAttribute('aria-sort');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const value = (row) => {
    const words = row.children[at]?.textContent.trim() ?? '', number = parseFloat(words);
    return !Number.isNaN(number) ? number : /^(n\\/a|-|)$/.test(words) ? null : words.toLowerCase();
  };
  const compare = (a, b) => (value(a) === null) - (value(b) === null)
    || (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) * (down ? -1 : 1);
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
});
element.addEventListener('input', search);
new MutationObserver(search).observe(element, {childList: true, characterData: true, subtree: true});
"""
# Boards without a plot, which count the runs that hold a bar: by kind, table and source.
_PLAIN = {
    subject_boards.PERSON_KIND: (subject_boards.person_table, subject_boards.person_source),
    subject_boards.REAL_KIND: (subject_boards.real_table, subject_boards.real_source),
}
_NONE = "This installation has no leaderboard of that model. Make one with lethe bench."


def build_gallery_tab(studio: Studio, tab: gr.Tab) -> tuple[gr.Dropdown, gr.Radio]:
    """Filled when the tab is opened for the first time; nothing is computed for it. Returns what chooses the board
    and its order."""
    heading(
        "Methods on the same model",
        "Tuned alike, scored over seeds. The nearer to the star of the retain-only model, the better.",
    )
    with panel(), gr.Row():
        target = gr.Dropdown(_choices(), value="demo", label="Target model", min_width=200)
        order = gr.Radio(list(ORDERS), value=next(iter(ORDERS)), label="Sorted by", scale=3)
    with panel() as drawing:
        picture = chart("le-gallery-plot")
    table = gr.HTML(elem_id="le-gallery", js_on_load=_SORT)
    made = gr.HTML()

    def show(name: str) -> tuple[object, ...]:
        board = _boards().get(name)
        if board is None:
            return gr.skip(), gr.skip(), gr.skip(), ""
        kind = str(board.get("kind"))
        tasks = gr.update(visible=kind not in _PLAIN)
        if kind in _PLAIN:
            return tasks, tasks, gr.skip(), _PLAIN[kind][1](board)
        return tasks, tasks, plot(board_figure(board, studio.choices.by_name())), made_with(board)

    def rank(name: str, by: str) -> Safe:
        board = _boards().get(name)
        if board is None:
            return tag("p", _NONE, class_="le-problem", role="alert")
        kind, audits = str(board.get("kind")), studio.choices.audit_titles()
        if kind in _PLAIN:
            return _PLAIN[kind][0](board, audits)
        return board_table(board, by, studio.choices.by_name(), audits)

    gr.on([tab.select, target.input], show, target, [order, drawing, picture, made], **CHOSEN)
    gr.on([tab.select, target.input, order.input], rank, [target, order], table, **CHOSEN)
    return target, order


def _choices() -> list[tuple[str, str]]:
    """Title and name of each leaderboard."""
    return [(TITLES.get(path.stem, path.stem), path.stem) for path in _files()]


@functools.cache
def _boards() -> dict[str, dict[str, Any]]:
    """The leaderboards that ship with this version, by target."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in _files()}


def _files() -> list[Path]:
    return sorted((assets_directory() / "gallery").glob("*.json"))
