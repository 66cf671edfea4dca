"""The buttons inside errors: what each does to the form of the first tab, or which tab it opens, in one place."""

from __future__ import annotations

import gradio as gr

from unlearn_core.report.kit.mend import DEFAULT, HALF
from unlearn_core.runs.spec import Settings
from unlearn_core.service.choices import Brought
from unlearn_core.ui.common import AT_ONCE, PRIVATE, TO_THE_TAB, told_by
from unlearn_core.ui.panels.setup_panel import Setup
from unlearn_core.ui.web.addresses import TABS

_LISTEN = """document.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-mend]');
  if (button) trigger('select', {name: button.dataset.mend, value: button.dataset.value});
});"""
# The button goes with its error, and the focus would go with it.
_TO_THE_START = "() => setTimeout(() => document.querySelector('#le-start')?.focus(), 300)"
_FIELDS = ("target", "adapter", "prompt", "retain_model")


def build_mends(setup: Setup, tabs: gr.Tabs) -> None:
    """Listen for every such button of the page; must be called outside the tabs."""
    listener = gr.HTML(elem_id="le-mends", js_on_load=_LISTEN)
    fields = [getattr(setup, name) for name in _FIELDS]

    def mend(method: str, settings: Settings, data: str, brought: Brought, event: gr.EventData) -> tuple[object, ...]:
        """Values for the fields, the seed, the settings, what they are drawn from, what the data brings, the tabs."""
        name, value = (str(told_by(event).get(key, "")) for key in ("name", "value"))
        chosen = [gr.update(value=value) if name == field else gr.skip() for field in _FIELDS]
        nothing = [gr.skip()] * 5
        if name in _FIELDS:
            return *chosen, *nothing
        if name == "seed":
            return *chosen, int(value) if value.isdigit() else 0, *nothing[1:]
        if name == "retain_data":
            beside = brought if brought.get("data") == data else {"data": data}
            return *chosen, *nothing[:3], beside | {"retain_data": value}, gr.skip()
        if name == "tab":
            return *chosen, *nothing[:4], gr.Tabs(selected=value) if value in TABS else gr.skip()
        changed = with_setting(method, settings, name, value)
        return *chosen, gr.skip(), changed, {"method": method, "settings": changed}, *nothing[3:]

    given = [setup.method, setup.settings, setup.data, setup.brought]
    changed = [*fields, setup.seed, setup.settings, setup.mended, setup.brought, tabs]
    # Through the queue: only then is the page told that a state changed, from which settings are drawn anew.
    mended = listener.select(mend, given, changed, **PRIVATE)
    mended.success(None, js=_TO_THE_START, **AT_ONCE)
    mended.success(None, js=TO_THE_TAB, **AT_ONCE)


def with_setting(method: str, settings: Settings, name: str, value: str) -> Settings:
    """The method's settings with one put back to its default, halved, or set; unchanged where it has no such one."""
    from unlearn_core.methods import REGISTRY

    items = {item.name: item for item in REGISTRY[method].parameters()} if method in REGISTRY else {}
    kept = {key: old for key, old in settings.items() if key != name}
    if name not in items or value == DEFAULT:
        return kept
    if value == HALF:
        present = settings.get(name, items[name].default)
        return kept | {name: max(1, present // 2) if items[name].type is int else present / 2}
    return kept | {name: int(value)} if value.isdigit() else kept
