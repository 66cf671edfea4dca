"""The tab that teaches to distrust one number: published runs by their official score, wrecks marked."""

from __future__ import annotations

import functools

import gradio as gr

from unlearn_core.evaluation.protocols.references.published import PUBLISHED, PublishedRun, read_runs
from unlearn_core.report.runs.published import ORDERS, lesson, published_figure, published_table, source
from unlearn_core.system.assets import assets_directory
from unlearn_core.ui.common import AT_ONCE, CHOSEN, chart, heading, panel, plot


def build_published_tab(tab: gr.Tab) -> None:
    """Filled when the tab is opened for the first time."""
    heading(
        "What a high score can hide",
        "153 real runs by their official score. Up is a better score, left is a model that lost what it should keep.",
    )
    facts = gr.HTML(elem_id="le-lesson")
    with panel():
        picture = chart("le-published-plot")
        gr.HTML(source())
    with panel():
        order = gr.Radio(list(ORDERS), value=ORDERS[0], label="Sorted by")
    table = gr.HTML(elem_id="le-published")

    def show(chosen: str) -> tuple[object, ...]:
        runs = _runs()
        return lesson(runs), plot(published_figure(runs)), published_table(runs, chosen)

    tab.select(show, order, [facts, picture, table], **AT_ONCE)
    order.input(lambda chosen: published_table(_runs(), chosen), order, table, **CHOSEN)


@functools.cache
def _runs() -> list[PublishedRun]:
    return read_runs(assets_directory() / PUBLISHED)
