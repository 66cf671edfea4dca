"""The tab that compares the methods: measured beforehand, with the weights and versions named."""

from __future__ import annotations

import functools
import json
from typing import Any

import gradio as gr

from unlearn_core.report.gallery import ORDERS, board_figure, board_table, made_with
from unlearn_core.report.markup import tag
from unlearn_core.ui.common import AT_ONCE, chart, heading, panel
from unlearn_core.ui.live import plot
from unlearn_core.ui.studio import Studio

TITLES = {"demo": "Bundled model", "lume": "LUME, 16 + 16 documents"}
_NONE = "This installation has no leaderboard of that model. Make one with lethe bench."


def build_gallery_tab(studio: Studio, tab: gr.Tab) -> None:
    """Filled when the tab is opened for the first time; nothing is computed for it."""
    heading("Methods on the same model", "Tuned alike, scored over seeds. Top right is best.")
    with panel(), gr.Row():
        target = gr.Dropdown([("Bundled model", "demo")], value="demo", label="Target model", min_width=200)
        order = gr.Radio(list(ORDERS), value=next(iter(ORDERS)), label="Sorted by", scale=3)
    with panel():
        picture = chart("le-gallery-plot")
    table = gr.HTML(elem_id="le-gallery")
    made = gr.HTML()

    def show(name: str, by: str) -> tuple[Any, ...]:
        boards = _read(studio)
        if name not in boards:
            return gr.skip(), gr.skip(), tag("p", _NONE, class_="le-problem", role="alert"), ""
        choices = [(TITLES.get(key, key), key) for key in boards]
        board = boards[name]
        return gr.update(choices=choices), plot(board_figure(board)), board_table(board, by), made_with(board)

    gr.on([tab.select, target.input], show, [target, order], [target, picture, table, made], **AT_ONCE)
    order.input(lambda name, by: board_table(_read(studio)[name], by), [target, order], table, **AT_ONCE)


def _read(studio: Studio) -> dict[str, dict[str, Any]]:
    studio.warm_up()
    return _boards()


@functools.cache
def _boards() -> dict[str, dict[str, Any]]:
    """The leaderboards that ship with this version, by target."""
    from unlearn_core.models.targets import assets_directory

    folder = assets_directory() / "gallery"
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
