"""What to forget, from which model, and how: already chosen, so that one click suffices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr
from gradio.blocks import Block

from unlearn_core.report.kit.markup import Safe
from unlearn_core.service.choices import DEMO_DATA, EVERYBODY
from unlearn_core.ui.common import PRIVATE
from unlearn_core.ui.panels.settings_form import settings_form

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson

DEMO_TARGET = ("Bundled model", "demo")
PROMPT_FORMATS = [
    ("Choose by model and data", "auto"),
    ("As they are", "raw"),
    ("As they are, without white space at the end", "stripped"),
    ("As they are, answers without a space before them", "joined"),
    ("Rows hold the template's tokens already", "rendered"),
    ("The model's chat template", "chat"),
    ("As TOFU formats them for this model", "tofu"),
    ("Between [INST] and [/INST]", "inst"),
    ("Question: and Answer:", "qa"),
]
_ADAPTERS = [("Choose by size", "auto"), ("Full weights", "full"), ("LoRA", "lora")]


@dataclass(frozen=True)
class Setup:
    """The form. `settings` holds what differs from the method's defaults; `brought` what the data tab chose
    beside the data: retain set, columns, MMLU."""

    target: gr.Dropdown
    data: gr.Dropdown
    method: gr.Dropdown
    settings: gr.State
    mended: gr.State  # what the fields of the settings are drawn from, where the page itself changed them
    brought: gr.State
    seed: gr.Number
    adapter: gr.Radio
    retain_model: gr.Textbox
    subject: gr.Dropdown
    prompt: gr.Dropdown
    start: gr.Button
    forecast: gr.HTML
    box: gr.Accordion  # folded while a run is on screen

    @property
    def fields(self) -> list[Block]:
        """In the order of `Studio.spec`."""
        chosen = [self.target, self.data, self.method, self.settings, self.brought, self.seed, self.adapter]
        return [*chosen, self.retain_model, self.subject, self.prompt]

    @property
    def ground(self) -> list[Block]:
        """What `on_ground_of` fills in."""
        chosen = [self.target, self.data, self.subject, self.brought]
        return [*chosen, self.seed, self.retain_model, self.prompt, self.box]


def on_ground_of(spec: SpecJson, about: str) -> list[object]:
    """The form, open, with everything of a run but its method: model, data, seed and how prompts are put. about: what
    it forgets, in words."""
    data, subject = spec["data"], str(spec.get("subject") or "")
    brought = {name: spec.get(name) for name in ("data", "retain_data", "columns", "mmlu")}
    choices = [DEMO_DATA] if data == "demo" else [DEMO_DATA, (about, data)]
    return [
        spec["target"],
        gr.update(choices=choices, value=data),
        gr.update(choices=[EVERYBODY, *([(subject, subject)] if subject else [])], value=subject),
        brought,
        int(spec.get("seed") or 0),
        spec.get("retain_model") or "",
        str(spec.get("prompt") or "auto"),
        gr.update(open=True),
    ]


def setup_panel(public: bool, describe: Callable[[str], Safe]) -> Setup:
    """Lay the form out. The lists of models and methods are filled in when the page has loaded.

    `describe` says what a target needs on this machine; asked whenever another one is chosen.
    """
    settings, mended, brought = gr.State({}), gr.State({}), gr.State({})
    with gr.Accordion("New run", open=True, elem_id="le-new", elem_classes=["le-panel", "le-setup"]) as box:
        with gr.Row(elem_classes=["le-choices"]):
            target = gr.Dropdown(
                [DEMO_TARGET],
                value="demo",
                label="Target model",
                allow_custom_value=not public,
                info="One of those listed" if public else "A folder, or owner/name@revision",
                min_width=200,
                scale=3,
            )
            data = gr.Dropdown(
                [DEMO_DATA],
                value="demo",
                label="Forget set",
                allow_custom_value=True,
                min_width=200,
                info="Choose others under Data",
                scale=3,
            )
            subject = gr.Dropdown(
                [EVERYBODY],
                value="",
                label="Whom or what of it",
                elem_id="le-subject",
                allow_custom_value=True,
                min_width=200,
                info="Type to search; the others are kept",
                scale=3,
            )
            method = gr.Dropdown(
                [("Lethe (matched forgetting)", "lethe")],
                value="lethe",
                label="Method",
                min_width=200,
                info="How it is made to forget",
                scale=3,
            )
            start = gr.Button("Make it forget", variant="primary", elem_id="le-start", min_width=180, scale=2)
        note = gr.HTML(elem_id="le-target-note")
        told = gr.HTML(elem_id="le-forecast")
        with gr.Accordion("Method settings", open=False, elem_id="le-settings"):
            settings_form(method, settings, mended)
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, info="The same seed draws the same rows")
                adapter = gr.Radio(
                    _ADAPTERS, value="auto", label="What is trained", info="LoRA trains small added matrices"
                )
            prompt = gr.Dropdown(
                PROMPT_FORMATS,
                value="auto",
                label="Prompt format",
                info="How prompts are put to the model; what is chosen stands beside what the run takes",
                elem_id="le-prompt",
            )
            retain_model = gr.Textbox(
                label="Retain-only model",
                info="A folder, owner/name or file of scores of a model that never saw the forget set, to compare with",
                placeholder="The one that comes with the target, where there is one",
                visible=not public,
                elem_id="le-retain-model",
            )
    target.change(describe, target, note, **PRIVATE)
    chosen = (target, data, method, settings, mended, brought, seed, adapter, retain_model, subject, prompt)
    setup = Setup(*chosen, start, told, box)
    return setup
