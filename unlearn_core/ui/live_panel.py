"""A run in motion: where it is, its curves, and the secrets that fade."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.report.replay import SLIDE
from unlearn_core.report.watched import KEEP_BEST
from unlearn_core.ui.common import chart, panel
from unlearn_core.ui.live import View


@dataclass(frozen=True)
class LivePanel:
    """The components; `box` holds them all."""

    box: gr.Column
    progress: gr.HTML
    alarm: gr.HTML
    stop: gr.Button
    early: gr.Button
    best: gr.Button
    resume: gr.Button
    losses: gr.Plot
    facts: gr.Plot
    rows: gr.HTML
    ask: gr.Button  # for the numbers behind both charts: made when asked for, not at every poll
    numbers: gr.HTML
    replay: gr.HTML

    @property
    def drawn(self) -> list[Any]:
        """What a poll may change, in the order of `changes`."""
        return [self.progress, self.alarm, self.losses, self.facts, self.rows, self.replay]

    def changes(self, view: View, new: set[str]) -> list[Any]:
        """Values for `drawn`; what is not new is skipped, so that charts keep their zoom."""
        names = ("progress", "alarm", "losses", "replay")
        part = {name: view.parts[name] if name in new else gr.skip() for name in names}
        facts, rows = view.parts["facts"] if "facts" in new else (gr.skip(), gr.skip())
        return [part["progress"], part["alarm"], part["losses"], facts, rows, part["replay"]]


def live_panel() -> LivePanel:
    """Lay it out, hidden until there is a run to watch."""
    with gr.Column(visible=False) as box:
        progress = gr.HTML(elem_id="le-progress")
        alarm = gr.HTML(elem_id="le-alarm")
        with gr.Row(elem_classes=["le-buttons"]):
            best = gr.Button(KEEP_BEST, size="sm", visible=False, elem_id="le-best")
            early = gr.Button(
                "Stop training, keep and score it", size="sm", visible=False, elem_id="le-early"
            )
            stop = gr.Button("Stop and discard", size="sm", visible=False, elem_id="le-stop")
            resume = gr.Button("Resume this run", size="sm", visible=False, elem_id="le-resume")
        with gr.Row():
            with panel(min_width=300):
                gr.HTML(_title("Loss", "Of each step, in the method's own units; nats per token for most."))
                losses = chart("le-losses")
            with panel(min_width=300):
                gr.HTML(_title("Fading secrets", "How probable each watched answer is; bold are averages."))
                facts = chart("le-facts-plot")
        rows = gr.HTML(elem_id="le-facts")
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Numbers behind these charts", size="sm", elem_id="le-ask-numbers")
        numbers = gr.HTML(elem_id="le-numbers")
        replay = gr.HTML(elem_id="le-replay", js_on_load=SLIDE)
    return LivePanel(
        box, progress, alarm, stop, early, best, resume, losses, facts, rows, ask, numbers, replay
    )


def _title(words: str, aside: str) -> Safe:
    return tag("div", join(tag("h3", words), tag("p", aside)), class_="le-plot-title")
