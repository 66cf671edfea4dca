"""Every method from its own declaration: found by family or words, and one press away from a run."""

from __future__ import annotations

import gradio as gr

from unlearn_core.report.kit.markup import Safe
from unlearn_core.report.runs.methods import EVERY, families, methods_page
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, TO_THE_TAB, heading, panel, told_by
from unlearn_core.ui.page import RunTab

# The list is plain HTML: one listener tells whose button was pressed.
_LISTEN = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-method]');
  if (button) trigger('select', {method: button.dataset.method});
});
"""


def build_methods_tab(studio: Studio, run: RunTab, tab: gr.Tab, tabs: gr.Tabs) -> gr.Textbox:
    """Filled when the tab is opened for the first time. Returns the field whose words narrow the list."""
    heading("Methods", "What each does, by which formula, after whom, and what it costs.")
    with panel(), gr.Row():
        family = gr.Dropdown([EVERY], value=EVERY, label="Family", min_width=180, elem_id="le-family")
        words = gr.Textbox(
            label="Words",
            placeholder="Name, idea, formula, paper or need",
            scale=3,
            min_width=220,
            elem_id="le-method-words",
        )
    listed = gr.HTML(elem_id="le-methods", js_on_load=_LISTEN)

    def show(kind: str, typed: str) -> Safe:
        return methods_page(studio.choices.described(), kind, typed or "")

    def offer(kind: str, typed: str) -> tuple[object, Safe]:
        return gr.update(choices=[EVERY, *families(studio.choices.described())]), show(kind, typed)

    def use(event: gr.EventData) -> tuple[object, ...]:
        name = str(told_by(event).get("method", ""))
        return name, gr.Tabs(selected="run")

    tab.select(offer, [family, words], [family, listed], **AT_ONCE)
    for field in (family, words):
        field.change(show, [family, words], listed, trigger_mode="always_last", **AT_ONCE)
    used = listed.select(use, None, [run.setup.method, tabs], **AT_ONCE)
    used.success(None, js=TO_THE_TAB, **AT_ONCE)
    return words
