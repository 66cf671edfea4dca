"""Our figures as static SVG, for a report that opens offline and prints: lines, markers, levels and names.

Reads the same plotly figures that the page draws, as far as ours go. Text takes the colour of
what is around it, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from unlearn_core.report.kit.format import shorten
from unlearn_core.report.kit.markup import Safe, tag

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

WIDTH, HEIGHT = 640, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 40
_LETTER, _LINE = 7, 18  # room for a letter of a name, and for a row of names
_DASHES = {"dash": "7 4", "dot": "2 3"}


def figure_svg(figure: Figure) -> Safe:
    """The figure as one SVG element with its name; says so where there is nothing to draw."""
    drawn = figure.to_dict()
    axes, title = drawn["layout"], str(drawn["layout"]["meta"])
    traces = [trace for trace in drawn["data"] if trace.get("x")]
    if not traces:
        return tag("p", f"{title}: nothing was recorded.", class_="le-muted")
    across = _Axis(axes["xaxis"], [x for t in traces for x in t["x"]], _LEFT, WIDTH - _RIGHT)
    levels = [shape["y0"] for shape in axes.get("shapes", ())]
    up = _Axis(axes["yaxis"], [y for t in traces for y in t["y"]] + levels, HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(across, up), *(part for trace in traces for part in _trace(trace, across, up))]
    legend, above = _legend(traces)
    parts += _levels(axes, up) + legend
    named = tag("title", title)
    return tag(
        "svg",
        named,
        *parts,
        viewBox=f"0 {-above} {WIDTH} {HEIGHT + above}",
        role="img",
        aria_label=title,
        class_="le-svg",
        font_size="12",
    )


def spark(values: list[float]) -> Safe | None:
    """The course of a number, as small as a word; nothing for a single value."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    across = 64 / (len(known) - 1)
    points = [(n * across, 15 - 14 * (value - low) / ((high - low) or 1)) for n, value in enumerate(known)]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    line = tag("path", d=path, fill="none", stroke="currentColor", stroke_width="1.5")
    return tag("svg", line, viewBox="0 0 64 16", class_="le-spark", aria_hidden="true")


class _Axis:
    """Where a value lies, and which values get a mark."""

    def __init__(self, axis: dict[str, Any], values: list[float], start: float, stop: float) -> None:
        low, high = axis.get("range") or (min(values), max(values))
        if high == low:
            low, high = low - 0.5, high + 0.5
        room = 0 if "range" in axis else 0.05 * (high - low)
        self.low, self.high, self.start, self.stop = low - room, high + room, start, stop
        self.title = axis.get("title", {}).get("text", "")
        self._percent = str(axis.get("tickformat", "")).endswith("%")

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.stop - self.start), 1)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """About five round numbers within the axis, as text."""
        raw = (self.high - self.low) / 5
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw)
        for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1):
            value = number * step
            yield value, f"{value:.0%}" if self._percent else f"{value:.6g}"


def _grid(across: _Axis, up: _Axis) -> Iterator[Safe]:
    for value, words in up.ticks():
        y = up.at(value)
        yield tag("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=y, y2=y, stroke="currentColor", stroke_opacity=".15")
        yield _text(words, _LEFT - 6, y + 4, "end")
    for value, words in across.ticks():
        x = across.at(value)
        yield tag("line", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, stroke="currentColor", stroke_opacity=".08")
        yield _text(words, x, HEIGHT - _BOTTOM + 16, "middle")
    if across.title:
        yield _text(across.title, (_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, "middle")


def _trace(trace: dict[str, Any], across: _Axis, up: _Axis) -> Iterator[Safe]:
    points = [(across.at(x), up.at(y)) for x, y in zip(trace["x"], trace["y"], strict=True) if y is not None]
    color = trace.get("line", {}).get("color") or trace.get("marker", {}).get("color")
    faint = trace.get("opacity", 1)
    if "lines" in trace.get("mode", "lines") and len(points) > 1:
        line = trace.get("line", {})
        path = "M" + "L".join(f"{x} {y}" for x, y in points)
        yield tag(
            "path",
            d=path,
            fill="none",
            stroke=color,
            stroke_width=line.get("width", 2),
            stroke_dasharray=_DASHES.get(line.get("dash", "")),
            stroke_opacity=faint,
            stroke_linejoin="round",
        )
    else:
        for x, y in points:
            yield tag("circle", cx=x, cy=y, r=4, fill=color, fill_opacity=faint)


def _levels(axes: dict[str, Any], up: _Axis) -> list[Safe]:
    found = []
    for shape in axes.get("shapes", ()):
        y = up.at(shape["y0"])
        where = {"x1": _LEFT, "x2": WIDTH - _RIGHT, "y1": y, "y2": y}
        found.append(tag("line", **where, stroke="currentColor", stroke_dasharray="6 4", stroke_opacity=".6"))
    for name in axes.get("annotations", ()):
        found.append(_text(name["text"], WIDTH - _RIGHT - 4, up.at(name["y"]) - 5, "end"))
    return found


def _legend(traces: list[dict[str, Any]]) -> tuple[list[Safe], int]:
    """The names of the lines, and how far above the drawing they reach when one row is too short."""
    named = [trace for trace in traces if trace.get("showlegend") is not False and trace.get("name")]
    places: list[tuple[float, int]] = []  # from the left, and the row
    x, row = float(_LEFT), 0
    for trace in named:
        width = 24 + _LETTER * len(shorten(str(trace["name"]), 30))
        if x + width > WIDTH:
            x, row = float(_LEFT), row + 1
        places.append((x, row))
        x += width + 16
    parts: list[Safe] = []
    for trace, (x, above) in zip(named, places, strict=True):
        color = trace.get("line", {}).get("color") or trace.get("marker", {}).get("color")
        dash = _DASHES.get(trace.get("line", {}).get("dash", ""))
        y = 14 - _LINE * (row - above)
        parts.append(tag("line", x1=x, x2=x + 18, y1=y, y2=y, stroke=color, stroke_width=3, stroke_dasharray=dash))
        parts.append(_text(shorten(str(trace["name"]), 30), x + 24, y + 4, "start"))
    return parts, _LINE * row


def _text(words: str, x: float, y: float, anchor: str) -> Safe:
    return tag("text", words, x=x, y=y, text_anchor=anchor, fill="currentColor")
