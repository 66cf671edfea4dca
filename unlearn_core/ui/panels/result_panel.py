"""The end of a run: the result on one screen with what to do next, and the details that it stands on."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from unlearn_core.report.kit.format import split_title
from unlearn_core.report.kit.markup import Safe, join
from unlearn_core.report.run.answers.sidebyside import ORDERS, items, side_by_side, splits
from unlearn_core.report.run.breakdown import breakdown
from unlearn_core.report.run.caveats import beside
from unlearn_core.report.run.cost import cost_table
from unlearn_core.report.run.live.fade import PLAY
from unlearn_core.report.run.outcome import outcome
from unlearn_core.report.run.verdict import in_layers
from unlearn_core.runs.state import RunState
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, CHOSEN, COPY_LINK, heading, panel

FIRST_SHOWN, MORE = 4, 12


@dataclass(frozen=True)
class OutcomePanel:
    """The result on one screen. The buttons that lead to other tabs are wired where those are."""

    verdict: gr.HTML
    judged: gr.Row  # what can be done with a judged run alone
    recover: gr.Button
    attack: gr.Button
    chat: gr.Button
    compare: gr.Button
    report: gr.Button
    certificate: gr.Button

    @property
    def drawn(self) -> list[Block]:
        """What the end of a run changes, in the order of `changes`."""
        return [self.verdict, self.judged]

    def changes(self, story: RunState) -> list[object]:
        """Values for `drawn`: empty and hidden while the run is under way."""
        return [outcome(story) if story.end is not None else "", gr.update(visible=story.verdict is not None)]


@dataclass(frozen=True)
class ResultPanel:
    """The components of the details of a judged run."""

    layers: gr.HTML
    box: gr.Column
    split: gr.Radio
    order: gr.Radio
    cards: gr.HTML
    more: gr.Button
    shown: gr.State
    terms: gr.HTML

    @property
    def drawn(self) -> list[Block]:
        """What the end of a run changes, in the order of `changes`."""
        return [self.layers, self.terms, self.box, self.split, self.cards, self.more, self.shown]

    def changes(self, story: RunState, order: str, anew: bool) -> list[object]:
        """Values for `drawn`: empty and hidden while the run is under way. anew: it was not shown before; else only
        its verdict is another, and the prompts stay as the reader chose them."""
        if story.end is None:
            return ["", "", gr.update(visible=False), gr.skip(), "", gr.skip(), FIRST_SHOWN]
        if not anew:
            return [in_layers(story), _terms(story), *[gr.skip()] * 5]
        kinds = splits(story.scores)
        judged = "unlearned" in story.scores
        chosen = kinds[0] if kinds else ""
        choices = [(split_title(kind), kind) for kind in kinds]
        cards = side_by_side(story.scores, chosen, order, FIRST_SHOWN) if judged else ""
        split = gr.update(choices=choices, value=chosen) if kinds else gr.skip()
        more = gr.update(visible=_has_more(story, chosen, FIRST_SHOWN))
        return [in_layers(story), _terms(story), gr.update(visible=judged), split, cards, more, FIRST_SHOWN]


def _has_more(story: RunState, kind: str, number: int) -> bool:
    return len(items(story.scores, kind)) > number


def _terms(story: RunState) -> Safe:
    return join(breakdown(story.scores), beside(story.scores), cost_table(story))


def outcome_panel() -> OutcomePanel:
    """Lay the result out."""
    verdict = gr.HTML(elem_id="le-verdict", js_on_load=PLAY)
    with gr.Row(visible=False, elem_classes=["le-buttons", "le-next"]) as judged:
        recover = gr.Button("Try to recover it", variant="primary", size="sm", elem_id="le-to-recover")
        attack = gr.Button("Attack it", size="sm", elem_id="le-to-attack")
        chat = gr.Button("Chat with it", size="sm", elem_id="le-to-chat")
        compare = gr.Button("Compare", size="sm", elem_id="le-to-compare")
        share = gr.Button("Share", size="sm", elem_id="le-share")
        report = gr.Button("Report", size="sm", elem_id="le-report")
        certificate = gr.Button("Certificate", size="sm", elem_id="le-certificate")
    share.click(None, js=COPY_LINK, **AT_ONCE)
    return OutcomePanel(verdict, judged, recover, attack, chat, compare, report, certificate)


def result_panel(studio: Studio, run_id: gr.Textbox) -> ResultPanel:
    """Lay the details out and wire the choice of prompts."""
    shown = gr.State(FIRST_SHOWN)
    layers = gr.HTML(elem_id="le-judged")
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
    result = ResultPanel(layers, box, split, order, cards, more, shown, terms)

    def choose(run: str, kind: str, in_order: str, count: int) -> tuple[object, ...]:
        if not run:
            return gr.skip(), gr.skip()
        story = studio.live.story(run)
        return side_by_side(story.scores, kind, in_order, count), gr.update(visible=_has_more(story, kind, count))

    asked = [run_id, split, order, shown]
    chosen = gr.on([split.input, order.input], lambda: FIRST_SHOWN, None, shown, **AT_ONCE)
    chosen.then(choose, asked, [cards, more], **CHOSEN)
    more.click(lambda count: count + MORE, shown, shown, **AT_ONCE).then(choose, asked, [cards, more], **CHOSEN)
    return result
