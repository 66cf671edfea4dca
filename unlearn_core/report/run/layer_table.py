"""The layers of a verdict as a table: state in word and sign, value with interval, of how many, and beside it
the original and the model that never saw the forget set.
"""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.evaluation.verdict import Layer
from unlearn_core.report.kit.format import MISSING
from unlearn_core.report.kit.markup import Safe, tag

# What each layer is called, and what its figure says.
TITLES = {
    "answers": ("Answers", "still told, asked as trained"),
    "wordings": ("Other wordings", "still told, asked otherwise"),
    "neighbours": ("Neighbours", "kept of what it knew of others"),
    "general": ("General ability", "kept of what is not about them"),
    "membership": ("Membership AUC", "of the best attack; 0.50 is blind"),
    "attacks": ("Attacks", "share of attacks that find traces"),
}
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
    head = tag(
        "tr",
        tag("th", "Layer", scope="col"),
        tag("th", "State", scope="col"),
        *(
            tag("th", words, scope="col", class_="le-number")
            for words in ("Value", "95 %", "Of", "Before", "Retain-only")
        ),
    )
    table = tag("table", tag("thead", head), tag("tbody", *map(_row, layers)), class_="le-table le-layers")
    return tag("div", table, class_="le-scroll", tabindex="0", role="region", aria_label="Layers of the verdict")


def figures(layer: Layer) -> tuple[str, str, str, str, str]:
    """Value, interval, number, the original's and the retain-only model's value, in words."""
    interval = (
        "" if layer.low is None or layer.high is None else f"{_value(layer, layer.low)} to {_value(layer, layer.high)}"
    )
    number = f"{layer.n:,}" if layer.n else ""
    before, never = (("" if value is None else _value(layer, value)) for value in (layer.before, layer.retain_only))
    return MISSING if layer.value is None else _value(layer, layer.value), interval, number, before, never


def _row(layer: Layer) -> Safe:
    title, told = TITLES[layer.name]
    sign, tone = _SIGNS[layer.state]
    mark = tag("span", f"{sign} {layer.state}", class_=f"le-tag le-tone-{tone}")
    numbers = (tag("td", words, class_="le-number") for words in figures(layer))
    return tag(
        "tr",
        tag("th", title, tag("div", told, class_="le-muted"), scope="row"),
        tag("td", mark),
        *numbers,
    )


def _value(layer: Layer, value: float) -> str:
    return (
        f"{value:.2f}"
        if layer.name == "membership"
        else f"{100 * value:.0f}%"
        if value in (0, 1)
        else f"{100 * value:.1f}%"
    )
