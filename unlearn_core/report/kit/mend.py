"""An error in a box: its sentence, the row of a file that it is about, and the button that mends it (see `errors`)."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.errors import Action, LetheError, ShownRow
from unlearn_core.report.kit.markup import Safe, tag

DEFAULT, HALF = "default", "half"  # of a method's setting, in place of a value
_LABELS: dict[Action, str] = {
    ("target", "demo"): "Use the bundled model",
    ("adapter", "lora"): "Train LoRA",
    ("adapter", "full"): "Train full weights",
    ("adapter", "auto"): "Leave the choice to Lethe",
    ("prompt", "raw"): "Give prompts as they are",
    ("retain_data", "general"): "Keep the bundled general facts",
    ("retain_model", ""): "Leave the retain-only model out",
    ("tab", "data"): "Open Data",
    ("tab", "runs"): "Open Runs",
}


def problem_box(error: LetheError, before: str = "") -> Safe:
    """The error's sentence, after `before`, the rows of a file that it is about, and its button."""
    told = tag("p", before, error), _rows(error.rows), mend_button(error.action)
    return tag("div", *told, class_="le-problem", role="alert")


def _rows(rows: Sequence[ShownRow]) -> Safe | None:
    """The wrong row between its neighbours, what is wrong in it marked."""
    if not rows:
        return None
    lines = [
        tag(
            "span",
            tag("span", row.place, class_="le-row-place"),
            row.before,
            tag("mark", row.marked) if row.marked else None,
            row.after,
            class_="le-row le-wrong" if row.wrong else "le-row",
        )
        for row in rows
    ]
    return tag("pre", tag("code", *lines), class_="le-excerpt", tabindex="0", aria_label="The row in its file")


def mend_button(action: Action | None) -> Safe | None:
    """The button that carries `action` out; None where there is none. The page listens for it in one place."""
    if action is None:
        return None
    name, value = action
    return tag("button", _label(action), type="button", data_mend=name, data_value=value, class_="le-use le-mend")


def _label(action: Action) -> str:
    name, value = action
    words = name.replace("_", " ")
    usual = {DEFAULT: f"Put {words} back", HALF: f"Halve the {words}"}
    return _LABELS.get(action) or usual.get(value) or f"Use {value} as {words}"
