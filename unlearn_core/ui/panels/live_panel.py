"""A run in motion: where it is and the answers that fade; its curves, and what is watched beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.run.live.watched import KEEP_BEST
from unlearn_core.service.live import LiveView
from unlearn_core.ui.common import AT_ONCE, UNSEEN, chart, panel, plot


@dataclass(frozen=True)
class LivePanel:
    """What shows first while a run is under way; `box` holds it all."""

    box: gr.Column
    progress: gr.HTML
    fade: gr.HTML
    alarm: gr.HTML
    theirs: gr.HTML  # instead of the buttons, for whoever only watches
    stop: gr.Button
    early: gr.Button
    best: gr.Button
    resume: gr.Button

    @property
    def drawn(self) -> list[Block]:
        """What a poll may change, in the order of `changes`."""
        return [self.progress, self.fade, self.alarm]

    def changes(self, view: LiveView, new: set[str]) -> list[object]:
        """Values for `drawn`; what is not new is skipped."""
        return [view.parts[name] if name in new else gr.skip() for name in ("progress", "fade", "alarm")]


@dataclass(frozen=True)
class ChartsPanel:
    """The curves of a run, and folded under them the figures of its last step and what is watched."""

    losses: gr.Plot
    facts: gr.Plot
    fresh: gr.Textbox  # hidden: figures to draw into the charts
    telemetry: gr.HTML
    rows: gr.HTML
    singles: gr.HTML
    ask: gr.Button  # for the numbers behind both charts: made when asked for, not at every poll
    numbers: gr.HTML

    @property
    def drawn(self) -> list[Block]:
        """What a poll may change, in the order of `changes`."""
        return [self.telemetry, self.rows, self.singles, self.losses, self.facts, self.fresh]

    def changes(self, view: LiveView, seen: Mapping[str, object], new: set[str]) -> list[object]:
        """Values for `drawn`; what is not new is skipped. `seen` are the versions this page has already.

        Gradio makes a chart anew for each value, which flickers and forgets the reader's zoom; so only the
        first one of a run is handed to it, and later figures are drawn into it (see `_DRAW`).
        """
        facts, rows, single = view.parts["facts"] if "facts" in new else [gr.skip()] * 3
        charts = {"losses": view.parts["losses"], "facts": facts}
        later = {name: value for name, value in charts.items() if name in new and name in seen}
        first = [gr.skip() if name in later or name not in new else plot(value) for name, value in charts.items()]
        drawn = {_CHARTS[name]: json.loads(value) for name, value in later.items()}
        fresh = json.dumps(drawn) if drawn else gr.skip()
        return [view.parts["telemetry"] if "telemetry" in new else gr.skip(), rows, single, *first, fresh]


_THEIRS = "You are watching a run by its link. Only the browser that started it can stop it."
_CHARTS = {"losses": "le-losses", "facts": "le-facts-plot"}
# Draws figures, by the id of their chart, into the charts that stand there, with the reader's zoom. A chart
# that is not there yet (its library is still on the way, or it is folded away) gets the newest figure once it
# is; told nothing new, it draws what it was told last.
_DRAW = """(told) => {
  const newest = (window.leFigures ??= {});
  Object.assign(newest, JSON.parse(told || '{}'));
  for (const [id, figure] of Object.entries(newest)) {
    const draw = (tries) => {
      if (newest[id] !== figure) return;
      const chart = document.querySelector(`#${id} .js-plotly-plot`);
      if (chart && window.Plotly) {
        // A copy: the chart writes the reader's zoom into what it is given, and a figure drawn once more would
        // then pass for one that was made with that zoom.
        const {data, layout} = structuredClone(figure);
        window.Plotly.react(chart, data, {...layout, autosize: true}, {responsive: true});
      } else if (tries > 0) setTimeout(() => draw(tries - 1), 250);
    };
    draw(120);
  }
}"""
REDRAW = f"() => ({_DRAW})('')"


def live_panel() -> LivePanel:
    """Lay it out, hidden until there is a run to watch."""
    with gr.Column(visible=False) as box:
        progress = gr.HTML(elem_id="le-progress")
        fade = gr.HTML(elem_id="le-fade")
        alarm = gr.HTML(elem_id="le-alarm")
        theirs = gr.HTML(tag("p", _THEIRS, class_="le-muted"), visible=False, elem_id="le-theirs")
        with gr.Row(elem_classes=["le-buttons"]):
            best = gr.Button(KEEP_BEST, size="sm", visible=False, elem_id="le-best")
            early = gr.Button("Stop training, keep and score it", size="sm", visible=False, elem_id="le-early")
            stop = gr.Button("Stop and discard", size="sm", visible=False, elem_id="le-stop")
            resume = gr.Button("Resume this run", size="sm", visible=False, elem_id="le-resume")
    return LivePanel(box, progress, fade, alarm, theirs, stop, early, best, resume)


def charts_panel() -> ChartsPanel:
    """Lay the curves out, and what is folded under them."""
    fresh = gr.Textbox(label="New figures", **UNSEEN)
    with gr.Row(equal_height=True):
        with panel(min_width=300):
            gr.HTML(_title("Fading secrets", "How probable each watched answer is; bold are averages."))
            facts = chart("le-facts-plot")
        with panel(min_width=300):
            gr.HTML(_title("Loss", "Of each step, in the method's own units; nats per token for most."))
            losses = chart("le-losses")
    fresh.change(None, fresh, None, js=_DRAW, **AT_ONCE)
    with gr.Accordion("Behind the curves", open=False, elem_id="le-behind"):
        telemetry = gr.HTML(elem_id="le-telemetry")
        rows = gr.HTML(elem_id="le-facts")
        singles = gr.HTML()
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Numbers behind these charts", size="sm", elem_id="le-ask-numbers")
        numbers = gr.HTML(elem_id="le-numbers")
    return ChartsPanel(losses, facts, fresh, telemetry, rows, singles, ask, numbers)


def _title(words: str, aside: str) -> Safe:
    return tag("div", join(tag("h3", words), tag("p", aside)), class_="le-plot-title")
