"""What to forget, from which model, and how: already chosen, so that one click suffices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.markup import Safe
from unlearn_core.ui.common import PRIVATE, panel
from unlearn_core.ui.settings_form import settings_form

DEMO_TARGET = ("Bundled model", "demo")
DEMO_DATA = ("Bundled world (synthetic)", "demo")
_ADAPTERS = [("Choose by size", "auto"), ("Full weights", "full"), ("LoRA", "lora")]


@dataclass(frozen=True)
class Setup:
    """The form. `settings` holds what differs from the method's defaults; `brought` what the data tab chose
    beside the data: retain set, columns, MMLU."""

    target: gr.Dropdown
    data: gr.Dropdown
    method: gr.Dropdown
    settings: gr.State
    brought: gr.State
    seed: gr.Number
    adapter: gr.Radio
    start: gr.Button
    forecast: gr.HTML

    @property
    def fields(self) -> list[Any]:
        """In the order of `Studio.spec`."""
        return [self.target, self.data, self.method, self.settings, self.brought, self.seed, self.adapter]


def setup_panel(public: bool, describe: Callable[[str], Safe], forecast: Callable[..., Safe]) -> Setup:
    """Lay the form out. The lists of models and methods are filled in when the page has loaded.

    `describe` says what a target needs on this machine; asked whenever another one is chosen. `forecast`
    says what the whole run will take; asked whenever anything changes.
    """
    settings, brought = gr.State({}), gr.State({})
    with panel("le-setup"):
        with gr.Row(elem_classes=["le-choices"]):
            target = gr.Dropdown(
                [DEMO_TARGET], value="demo", label="Target model", allow_custom_value=not public,
                info="The bundled model" if public else "A folder, or owner/name@revision", min_width=200,
                scale=3,
            )  # fmt: skip
            data = gr.Dropdown(
                [DEMO_DATA], value="demo", label="Forget set", allow_custom_value=True, min_width=200,
                info="Choose others under Data", scale=3,
            )  # fmt: skip
            method = gr.Dropdown(
                [("Lethe (matched forgetting)", "lethe")], value="lethe", label="Method", min_width=200,
                info="How it is made to forget", scale=3,
            )  # fmt: skip
            start = gr.Button("Make it forget", variant="primary", elem_id="le-start", min_width=180, scale=2)
        note = gr.HTML(elem_id="le-target-note")
        told = gr.HTML(elem_id="le-forecast")
        with gr.Accordion("Method settings", open=False, elem_id="le-settings"):
            settings_form(method, settings)
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, info="The same seed gives the same run")
                adapter = gr.Radio(
                    _ADAPTERS, value="auto", label="What is trained", info="LoRA trains small added matrices"
                )
    target.change(describe, target, note, **PRIVATE)
    setup = Setup(target, data, method, settings, brought, seed, adapter, start, told)
    changes = [field.change for field in (target, data, method, settings, brought, adapter)]
    # Choosing a method empties the settings too: of several questions at once only the last is answered.
    gr.on(changes, forecast, setup.fields, told, trigger_mode="always_last", **PRIVATE)
    return setup
