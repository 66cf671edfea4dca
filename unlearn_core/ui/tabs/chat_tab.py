"""The Chat tab: one conversation with the model before and after it forgot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.run.answers.chat import conversation
from unlearn_core.service.answers import Sampling
from unlearn_core.service.chat import Chat, ChatSubject, ChatTurn
from unlearn_core.service.prober import Prober
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, GENERATES, PRIVATE, TO_THE_TAB, heading, panel, sampling_fields, toast
from unlearn_core.ui.page import RunTab

NUM_BUTTONS = 8
ON_SCREEN = "The run on screen"
_NO_RUN = "No run is on screen. Make the model forget under Unlearn, or choose a recorded conversation above."
_NOT_KEPT = (
    "This run has no unlearned model to chat with: it has not finished, or its weights were not kept. "
    "Probe asks the original."
)
_NOT_HERE = (
    "These answers are recorded. The models themselves are not here: install the base that the run names "
    "(LETHE_SMOLLM2 may name its GGUF file), or choose one of the questions above."
)


def build_chat_tab(studio: Studio, run: RunTab, tab: gr.Tab, tabs: gr.Tabs) -> None:
    """Lay the tab out and wire it; nothing is loaded before a question is asked."""
    chat = Chat(studio.answers, Prober(studio).data)
    recorded = chat.recorded()
    names = [*(subject.name for subject in recorded), ON_SCREEN]
    run_id = run.session.run_id
    turns = gr.State([])
    heading(
        "Chat, before and after",
        "Both models get the same question. A name or an answer that was to be forgotten is marked where it is said.",
    )
    with panel():
        about = gr.Radio(names, value=names[0], label="What was forgotten", elem_id="le-chat-about")
        with gr.Row(elem_classes=["le-buttons"]):
            around = [
                gr.Button("", size="sm", visible=False, elem_classes=["le-ask-around"]) for _ in range(NUM_BUTTONS)
            ]
        question = gr.Textbox(
            label="Question",
            lines=1,
            max_lines=4,
            max_length=2000,
            elem_id="le-chat-question",
            placeholder="Ask both models",
        )
        with gr.Accordion("Sampling", open=False), gr.Row(elem_classes=["le-fields"]):
            tokens, heat = sampling_fields(studio.public, tokens=48)
            seed = gr.Number(0, label="Sampling seed", precision=0)
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Ask both", variant="primary", elem_id="le-chat-ask")
            anew = gr.Button("New conversation", size="sm", elem_id="le-chat-new")
    shown = gr.HTML(elem_id="le-chat")

    def subject_of(name: str, run: str) -> ChatSubject | None:
        for subject in recorded:
            if subject.name == name:
                return subject
        return chat.of_run(run) if run else None

    def open_it(name: str, run: str) -> tuple[object, ...]:
        """The buttons of the subject; of a recorded run its first stored answers."""
        with toast("No conversation"):
            subject = subject_of(name, run)
        if subject is None:
            return [], _nobody(run), *[gr.update(visible=False)] * NUM_BUTTONS
        asked = subject.questions[:NUM_BUTTONS]
        buttons = [gr.update(value=words, visible=True) for words in asked]
        buttons += [gr.update(visible=False)] * (NUM_BUTTONS - len(buttons))
        first = chat.stored(subject, asked[0]) if asked else None
        return [], conversation([_drawn(first)], recorded=True) if first else "", *buttons

    def reply(
        name: str, run: str, before: list[ChatTurn], words: str, most: float, heat: float, seed: float | None
    ) -> Iterator[tuple[object, ...]]:
        with toast("No answer"):
            subject = subject_of(name, run)
            if subject is None:
                yield _nobody(run), gr.skip()
                return
            turns_before = [_drawn(turn) for turn in before]
            stored = chat.stored(subject, words.strip())
            # The stored answers are greedy first turns: they stand in at once, and where the models are not here.
            if stored is not None and not before and heat == 0:
                yield conversation([_drawn(stored)], recorded=True), gr.skip()
            studio.spend("question")
            if not chat.is_live(subject):
                if stored is None:
                    yield tag("p", _NOT_HERE, class_="le-problem", role="alert"), gr.skip()
                return
            turn = None
            sampling = Sampling(int(most), float(heat), seed=int(seed or 0))
            for turn in chat.reply(subject, before, words.strip(), sampling):
                yield conversation([*turns_before, _drawn(turn)], writing=True), gr.skip()
            if turn is not None:
                yield conversation([*turns_before, _drawn(turn)]), [*before, turn]

    form = [about, run_id, turns, question, tokens, heat, seed]
    asked = (ask.click, question.submit)
    asking: list[dict[str, Any]] = [event(reply, form, [shown, turns], **GENERATES) for event in asked]
    for button in around:
        put = button.click(lambda words: words, button, question, **PRIVATE)
        asking.append(put.then(reply, form, [shown, turns], **GENERATES))
    opened = [turns, shown, *around]
    # An answer under way is of the conversation that ends.
    for event in (tab.select, about.input, anew.click):
        event(open_it, [about, run_id], opened, trigger_mode="always_last", cancels=asking, **PRIVATE)
    led = run.outcome.chat.click(lambda: (ON_SCREEN, gr.Tabs(selected="chat")), None, [about, tabs], **AT_ONCE)
    # The tab may open before the choice has changed: its buttons are those of the choice.
    led.success(None, js=TO_THE_TAB, **AT_ONCE).then(open_it, [about, run_id], opened, **PRIVATE)


def _nobody(run: str) -> Safe:
    """Why there are no two models to chat with, and where to go."""
    return tag("p", _NOT_KEPT if run else _NO_RUN, class_="le-muted", role="status")


def _drawn(turn: ChatTurn) -> dict[str, object]:
    return {"question": turn.question, "answers": turn.answers}
