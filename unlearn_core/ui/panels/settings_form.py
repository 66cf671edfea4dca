"""The form of a method's settings, made from the method's own declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gradio as gr

from unlearn_core.errors import InputError
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.mend import problem_box
from unlearn_core.report.runs.methods import method_note
from unlearn_core.runs.spec import Settings
from unlearn_core.ui.common import AT_ONCE

if TYPE_CHECKING:
    from unlearn_core.methods.base import Method, Parameter


def settings_form(method: gr.Dropdown, settings: gr.State, mended: gr.State) -> None:
    """Draw the fields of the chosen method; what the user changes is collected in `settings`. `mended` holds the
    settings of a method that the page itself changed, which are drawn in place of the defaults."""

    # One at a time: two renders of one page at once change the page's components under each other.
    @gr.render(inputs=[method, mended], concurrency_limit=1, show_progress="hidden")
    def form(name: str, changed: dict[str, Any]) -> None:
        from unlearn_core.methods import REGISTRY, describe

        if name not in REGISTRY:
            gr.HTML(tag("p", f"There is no method called {name}.", class_="le-problem", role="alert"))
            return
        cls = REGISTRY[name]
        gr.HTML(method_note(describe(cls)))
        with gr.Row(elem_classes=["le-fields"]):
            values = _drawn(name, changed)
            fields = [(item, _field(cls, item, values.get(item.name, item.default))) for item in cls.parameters()]
        problems = gr.HTML(elem_id="le-settings-problems")
        for item, field in fields:
            field.change(_collect(cls, item), [field, settings], [settings, problems, field], **AT_ONCE)

    # `mended` stays as it is: were it emptied, the form would be drawn a second time under the visitor's hands.
    method.change(_drawn, [method, mended], settings, **AT_ONCE)


def _drawn(name: str, changed: dict[str, Any]) -> Settings:
    """The settings that the fields of a method are drawn with, besides its defaults."""
    settings: Settings = changed["settings"] if changed.get("method") == name else {}
    return settings


def _field(cls: type[Method], item: Parameter, value: Any) -> gr.Checkbox | gr.Dropdown | gr.Number | gr.Textbox:
    label = item.name.replace("_", " ").capitalize()
    common = {"label": label, "min_width": 200, "interactive": True, **_beside(cls, item, value)}
    if item.type is bool:
        return gr.Checkbox(value, **common)
    if item.choices:
        return gr.Dropdown(list(item.choices), value=value, **common)
    if item.type is int:
        return gr.Number(value, precision=0, **common)
    if item.type is float:
        return gr.Number(value, **common)
    return gr.Textbox(value, **common)


def _help(item: Parameter) -> str:
    if item.minimum is None or item.maximum is None or item.type is bool:
        return str(item.help)
    return f"{item.help} ({item.minimum:g} to {item.maximum:g})"


def _beside(cls: type[Method], item: Parameter, value: object) -> dict[str, Any]:
    """What stands beside a field: what is wrong with its value, or what it is for."""
    wrong = _error(cls, {item.name: value}) if value is not None else None
    return {"info": wrong.sentence if wrong else _help(item), "elem_classes": ["le-wrong-field"] if wrong else []}


def _collect(cls: type[Method], item: Parameter) -> Callable[[object, Settings], tuple[Settings, Safe, object]]:
    """A listener that keeps one field's value, and says at once beside it and below what is wrong with it."""

    def collect(value: object, settings: Settings) -> tuple[Settings, Safe, object]:
        kept = {key: old for key, old in settings.items() if key != item.name}
        if value is not None and value != item.default:
            kept[item.name] = value
        wrong = _error(cls, kept)
        return kept, problem_box(wrong) if wrong else Safe(""), gr.update(**_beside(cls, item, value))

    return collect


def _error(cls: type[Method], settings: Settings) -> InputError | None:
    """Why a run would be refused for these settings."""
    from unlearn_core.methods import build

    try:
        build(cls.info.name, settings)
    except InputError as error:
        return error
    return None
