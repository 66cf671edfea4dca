"""The layers of a verdict as a table: state in word and sign, value with interval, of how many, and beside it
the original and the model that never saw the forget set.
"""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.evaluation.verdict import Layer
from unlearn_core.report.kit.format import MISSING
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.table import scrolled, table

# What each layer is called, and what its figure says.
TITLES = {
    "answers": ("Answers", "still told, asked as trained"),
    "wordings": ("Other wordings", "still told, asked otherwise"),
    "neighbours": ("Neighbours", "kept of what it knew of others"),
    "general": ("General ability", "kept of what is not about them"),
    "membership": ("Membership AUC", "of the best attack; 0.50 is blind"),
    "attacks": ("Attacks", "share of attacks that find traces"),
}
FIGURES = ("Value", "95 %", "Of", "Before", "Retain-only")
_SIGNS = {
    "holds": ("\N{CHECK MARK}", "good"),
    "leaks": ("!", "fair"),
    "harmed": ("\N{MULTIPLICATION X}", "bad"),
    "not measured": ("?", "plain"),
}


def layer_table(layers: Sequence[Layer]) -> Safe:
    """One row a layer; nothing for a verdict of a version without layers."""
    if not layers:
        return Safe("")
    columns = ("Layer", "State", *FIGURES)
    rows = table(columns, map(_row, layers), numbers=range(2, len(columns)), class_="le-table le-layers")
    return scrolled(rows, "Layers of the verdict")


def figures(layer: Layer) -> tuple[str, str, str, str, str]:
    """The values of FIGURES: in words, empty where there is none."""

    def shown(value: float | None) -> str:
        if value is None:
            return ""
        if layer.name == "membership":
            return f"{value:.2f}"
        return f"{value:.0%}" if value in (0, 1) else f"{value:.1%}"

    interval = "" if layer.low is None or layer.high is None else f"{shown(layer.low)} to {shown(layer.high)}"
    number = f"{layer.n:,}" if layer.n else ""
    return shown(layer.value) or MISSING, interval, number, shown(layer.before), shown(layer.retain_only)


def _row(layer: Layer) -> list[object]:
    title, told = TITLES[layer.name]
    sign, tone = _SIGNS[layer.state]
    mark = tag("span", f"{sign} {layer.state}", class_=f"le-tag le-tone-{tone}")
    return [join(title, tag("div", told, class_="le-muted")), mark, *figures(layer)]
