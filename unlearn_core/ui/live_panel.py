"""A run in motion: where it is, its curves, and the secrets that fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.ui.common import chart, panel
from unlearn_core.ui.live import View


@dataclass(frozen=True)
class LivePanel:
    """The components; `box` holds them all."""

    box: gr.Column
    progress: gr.HTML
    stop: gr.Button
    early: gr.Button
    resume: gr.Button
    losses: gr.Plot
    facts: gr.Plot
    rows: gr.HTML
    ask: gr.Button  # for the numbers behind both charts: made when asked for, not at every poll
    numbers: gr.HTML

    @property
    def drawn(self) -> list[Any]:
        """What a poll may change, in the order of `changes`."""
        return [self.progress, self.losses, self.facts, self.rows]

    def changes(self, view: View, new: set[str]) -> list[Any]:
        """Values for `drawn`; what is not new is skipped, so that charts keep their zoom."""
        losses = view.parts["losses"] if "losses" in new else gr.skip()
        facts, rows = view.parts["facts"] if "facts" in new else (gr.skip(), gr.skip())
        return [view.parts["progress"] if "progress" in new else gr.skip(), losses, facts, rows]


def live_panel() -> LivePanel:
    """Lay it out, hidden until there is a run to watch."""
    with gr.Column(visible=False) as box:
        progress = gr.HTML(elem_id="le-progress")
        with gr.Row(elem_classes=["le-buttons"]):
            early = gr.Button(
                "Stop training, keep and score it", size="sm", visible=False, elem_id="le-early"
            )
            stop = gr.Button("Stop and discard", size="sm", visible=False, elem_id="le-stop")
            resume = gr.Button("Resume this run", size="sm", visible=False, elem_id="le-resume")
        with gr.Row():
            with panel(min_width=300):
                gr.HTML(
                    _title("Loss", "Nats per token. The forget set should rise, the retain set stay low.")
                )
                losses = chart("le-losses")
            with panel(min_width=300):
                gr.HTML(_title("Fading secrets", "How probable each watched answer is; bold is the average."))
                facts = chart("le-facts-plot")
        rows = gr.HTML(elem_id="le-facts")
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Numbers behind these charts", size="sm", elem_id="le-ask-numbers")
        numbers = gr.HTML(elem_id="le-numbers")
    return LivePanel(box, progress, stop, early, resume, losses, facts, rows, ask, numbers)


def _title(words: str, aside: str) -> Safe:
    return tag("div", join(tag("h3", words), tag("p", aside)), class_="le-plot-title")
