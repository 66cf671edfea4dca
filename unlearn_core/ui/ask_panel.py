"""Any prompt, answered by the original and the unlearned model at once, streamed."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from unlearn_core.report.format import model_title
from unlearn_core.report.markup import Safe, tag
from unlearn_core.ui.common import PRIVATE, heading, panel, toast
from unlearn_core.ui.studio import Studio


def ask_panel(studio: Studio, run_id: gr.Textbox, target: gr.Dropdown) -> None:
    """The box and its answers; before a run there is no unlearned model to answer."""
    heading("Ask anything", "Each model gets the same prompt; with a temperature, also the same seed.")
    with panel():
        with gr.Row(elem_classes=["le-asking"]):
            prompt = gr.Textbox(
                label="Prompt", lines=2, max_lines=6, scale=6, min_width=220, elem_id="le-prompt",
                placeholder="Type a question, or how a story begins", max_length=4000,
            )  # fmt: skip
            ask = gr.Button("Ask", variant="primary", scale=1, min_width=110, elem_id="le-ask")
        with gr.Accordion("Sampling", open=False), gr.Row():
            tokens = gr.Slider(1, 512, value=64, step=1, label="Longest answer", info="In tokens")
            temperature = gr.Slider(0, 2, value=0, step=0.1, label="Temperature", info="0 is greedy")
            seed = gr.Number(0, label="Sampling seed", precision=0)
        answers = gr.HTML(elem_id="le-answers")

    def reply(
        run: str, place: str, words: str, longest: float, heat: float, number: float | None
    ) -> Iterator[Safe]:
        with toast("No answer"):
            last: dict[str, str] = {}
            sampling = {"max_new_tokens": int(longest), "temperature": heat, "seed": int(number or 0)}
            for last in studio.ask(run, place, words, **sampling):
                yield columns(last, done=False)
            yield columns(last, done=True)

    gr.on(
        [ask.click, prompt.submit], reply, [run_id, target, prompt, tokens, temperature, seed], answers,
        trigger_mode="once", concurrency_id="generate", concurrency_limit=2, **PRIVATE,
    )  # fmt: skip


def columns(answers: dict[str, str], done: bool) -> Safe:
    """The answers so far; a caret says that more may come, a screen reader hears the finished ones."""
    blocks = []
    for name, words in answers.items():
        head = tag("h4", tag("i", class_=f"le-dot le-{name}", aria_hidden="true"), model_title(name))
        shown = words.strip() or ("(empty answer)" if done else "")
        kind = "le-output" + ("" if done else " le-caret") + ("" if words else " le-muted")
        blocks.append(
            tag("div", head, tag("p", shown, class_=kind), class_=f"le-answer-column le-{name}-edge")
        )
    busy = "false" if done else "true"
    return tag("div", *blocks, class_="le-answers", aria_live="polite", aria_busy=busy)
