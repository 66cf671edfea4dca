"""Any prompt, answered by the original and the unlearned model at once, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.report.format import model_title
from unlearn_core.report.markup import Safe, tag, text
from unlearn_core.ui.run_tab import PRIVATE, RunTab, heading
from unlearn_core.ui.studio import Studio


def build_ask(studio: Studio, run: RunTab) -> None:
    """The box and its answers; before a run only the original answers."""
    heading("Ask them anything", "Greedy by default; with a temperature every model draws with the same seed.")
    with gr.Column(elem_classes=["le-panel"]):
        with gr.Row(equal_height=True):
            prompt = gr.Textbox(
                label="Prompt", lines=2, max_lines=6, scale=5, min_width=240, elem_id="le-prompt",
                placeholder="Type a question, or the beginning of a story", max_length=4000,
            )  # fmt: skip
            ask = gr.Button("Ask", variant="primary", scale=1, min_width=110, elem_id="le-ask")
        with gr.Accordion("Sampling", open=False), gr.Row():
            tokens = gr.Slider(1, 512, value=64, step=1, label="Longest answer", info="Tokens")
            temperature = gr.Slider(0, 2, value=0, step=0.1, label="Temperature", info="0 is greedy")
            seed = gr.Number(0, label="Sampling seed", precision=0)
        answers = gr.HTML(elem_id="le-answers")

    def reply(
        run_id: str, target: str, words: str, longest: int, heat: float, number: float
    ) -> Iterator[Safe]:
        try:
            last: dict[str, str] = {}
            for last in studio.answers.ask(run_id, target, words, int(longest), heat, int(number or 0)):
                yield columns(last, done=False)
            yield columns(last, done=True)
        except LetheError as error:
            raise gr.Error(str(text(error)), title="No answer", print_exception=False) from None

    private: dict[str, Any] = PRIVATE | {"concurrency_id": "generate", "concurrency_limit": 2}
    gr.on(
        [ask.click, prompt.submit], reply, [run.run_id, run.target, prompt, tokens, temperature, seed], answers,
        trigger_mode="once", **private,
    )  # fmt: skip


def columns(answers: dict[str, str], done: bool) -> Safe:
    """The answers so far; a caret says that more may come, a screen reader hears the finished ones."""
    blocks = []
    for name, words in answers.items():
        head = tag("h4", tag("i", class_=f"le-dot le-{name}", aria_hidden="true"), model_title(name))
        shown = words or ("(empty answer)" if done else "")
        body = tag("p", shown, class_=f"le-output{'' if done else ' le-caret'}{'' if words else ' le-muted'}")
        blocks.append(tag("div", head, body, class_=f"le-answer-column le-{name}-edge"))
    return tag("div", *blocks, class_="le-answers", aria_live="polite", aria_busy="false" if done else "true")
