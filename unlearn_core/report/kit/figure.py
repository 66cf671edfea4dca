"""What every figure shares, as one template of plotly's: transparent, so that one figure serves the light and the
dark page. Text colours come from the style sheet.
"""

from __future__ import annotations

import functools
import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from unlearn_core.report.kit import palette

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

Properties = dict[str, Any]  # of a trace, an axis, a shape: plotly refuses one that it does not know
_TEMPLATE = "lethe"
_CLEAR, _GREY = "rgba(0,0,0,0)", "#767676"
# Plotly's tool bar would cover a legend: dragging zooms and a double click goes back without these.
_TOOLS = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "pan2d", "zoom2d"]
_AXIS: Properties = {"gridcolor": palette.GRID, "zerolinecolor": palette.GRID, "automargin": True}
_LAYOUT: Properties = {
    "paper_bgcolor": _CLEAR,
    "plot_bgcolor": _CLEAR,
    "font": {"family": "inherit", "size": 12, "color": _GREY},
    "margin": {"l": 44, "r": 12, "t": 28, "b": 36},
    "height": 270,
    "hovermode": "closest",
    "modebar": {"bgcolor": _CLEAR, "color": _GREY, "activecolor": "#16857f", "remove": _TOOLS},
    "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": _CLEAR},
    "xaxis": _AXIS,
    "yaxis": _AXIS,
}


@functools.cache
def _registered() -> str:
    """The name of the template, which plotly knows from the first call on."""
    from plotly import graph_objects, io

    io.templates[_TEMPLATE] = graph_objects.layout.Template(layout=_LAYOUT)
    return _TEMPLATE


def figure(traces: Sequence[Properties], name: str, told: str, **layout: object) -> Figure:
    """A plotly figure. `name` tells figures apart, so that the reader's zoom survives new data; `told` says what
    one shows: its name for a screen reader (`meta`), on the page and in the report. ValueError for a property
    that plotly does not have."""
    from plotly import graph_objects

    shared = {"template": _registered(), "uirevision": name, "meta": told}
    return graph_objects.Figure(data=list(traces), layout=shared | layout)


def scatter(name: str, points: Iterable[tuple[float, float]], mode: str = "markers", **more: object) -> Properties:
    """A trace of (x, y) points, fractions with the digits that can be seen."""
    xs, ys = zip(*points, strict=True)
    return {"type": "scatter", "mode": mode, "name": name, "x": [*map(_short, xs)], "y": [*map(_short, ys)], **more}


def level(y: float) -> Properties:
    """A dashed line across the chart."""
    line = {"color": palette.TOTAL, "width": 1, "dash": "dash"}
    return {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": y, "y1": y, "line": line}


def _short(value: float) -> float:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def plain(words: str) -> str:
    """Plotly reads a little HTML in names: angle brackets and ampersands must stay what they are."""
    return html.escape(words, quote=False)
