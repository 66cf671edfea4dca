"""The end of a run: verdict first, then the models side by side, then the breakdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.beside import beside
from unlearn_core.report.breakdown import breakdown
from unlearn_core.report.cost import cost_table
from unlearn_core.report.format import split_title
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.report.reproduce import command
from unlearn_core.report.sidebyside import ORDERS, side_by_side, splits
from unlearn_core.report.story import Story
from unlearn_core.report.verdict import summary
from unlearn_core.ui.common import AT_ONCE, heading, panel
from unlearn_core.ui.studio import Studio

FIRST_SHOWN, MORE = 4, 12
_COPY_COMMAND = (
    "() => { navigator.clipboard.writeText(document.querySelector('#le-command code').textContent); }"
)
_COPY_LINK = "() => { navigator.clipboard.writeText(window.location.href); }"


@dataclass(frozen=True)
class ResultPanel:
    """The components; `verdict` shows alone where a run ended without scores."""

    verdict: gr.HTML
    box: gr.Column
    split: gr.Radio
    order: gr.Radio
    cards: gr.HTML
    more: gr.Button
    shown: gr.State
    terms: gr.HTML

    @property
    def drawn(self) -> list[Any]:
        """What the end of a run changes, in the order of `changes`."""
        return [self.verdict, self.box, self.split, self.cards, self.terms]

    def changes(self, story: Story, order: str) -> list[Any]:
        """Values for `drawn`: empty and hidden while the run is under way."""
        if story.end is None:
            return ["", gr.update(visible=False), gr.skip(), "", ""]
        kinds = splits(story.scores)
        judged = "unlearned" in story.scores
        chosen = kinds[0] if kinds else ""
        choices = [(split_title(kind), kind) for kind in kinds]
        cards = side_by_side(story.scores, chosen, order, FIRST_SHOWN) if judged else ""
        split = gr.update(choices=choices, value=chosen) if kinds else gr.skip()
        return [summary(story), gr.update(visible=judged), split, cards, _terms(story)]


def _terms(story: Story) -> Safe:
    return join(breakdown(story.scores), beside(story.scores), cost_table(story))


@dataclass(frozen=True)
class SharePanel:
    """How to repeat the run."""

    box: gr.Column
    line: gr.HTML

    @property
    def drawn(self) -> list[Any]:
        return [self.box, self.line]

    def changes(self, story: Story) -> list[Any]:
        """Values for `drawn`."""
        if not story.spec:
            return [gr.update(visible=False), ""]
        return [gr.update(visible=story.end is not None), _repeat(command(story.spec))]


def result_panel(studio: Studio, run_id: gr.Textbox) -> ResultPanel:
    """Lay it out and wire the choice of prompts."""
    shown = gr.State(FIRST_SHOWN)
    verdict = gr.HTML(elem_id="le-verdict")
    with gr.Column(visible=False) as box:
        heading("Side by side", "The same prompts put to each model: greedy, and nothing but the prompt.")
        with panel():
            with gr.Row(elem_classes=["le-choosers"]):
                split = gr.Radio(["forget"], value="forget", label="Prompts", scale=3, min_width=260)
                order = gr.Radio(list(ORDERS), value=ORDERS[0], label="Order", scale=2, min_width=220)
            cards = gr.HTML(elem_id="le-side-by-side")
            with gr.Row(elem_classes=["le-buttons"]):
                more = gr.Button("Show more", size="sm", elem_id="le-more")
        heading("The twelve terms", "The task aggregate is their harmonic mean: the lowest one rules.")
        terms = gr.HTML(elem_id="le-breakdown")
    result = ResultPanel(verdict, box, split, order, cards, more, shown, terms)

    def choose(run: str, kind: str, in_order: str, count: int) -> Any:
        return side_by_side(studio.live.story(run).scores, kind, in_order, count) if run else gr.skip()

    asked = [run_id, split, order, shown]
    for chooser in (split.input, order.input):
        chooser(lambda: FIRST_SHOWN, None, shown, **AT_ONCE).then(choose, asked, cards, **AT_ONCE)
    more.click(lambda count: count + MORE, shown, shown, **AT_ONCE).then(choose, asked, cards, **AT_ONCE)
    return result


def share_panel() -> SharePanel:
    """The command that repeats the run, and its link."""
    with gr.Column(visible=False) as box:
        heading("Repeat and share", "The same seed gives the same weights and the same scores.")
        with panel():
            line = gr.HTML(elem_id="le-command")
            with gr.Row(elem_classes=["le-buttons"]):
                gr.Button("Copy the command", size="sm").click(None, js=_COPY_COMMAND, **AT_ONCE)
                gr.Button("Copy a link to this run", size="sm").click(None, js=_COPY_LINK, **AT_ONCE)
    return SharePanel(box, line)


def _repeat(line: str) -> Safe:
    return join(tag("pre", tag("code", line), class_="le-code", tabindex="0", aria_label="Command"))
