"""What every figure shares: transparent, so that one figure serves the light and the dark page, and with a
fixed `uirevision`, so that the reader's zoom survives new data. Text colours come from the style sheet.
"""

from __future__ import annotations

from typing import Any

from unlearn_core.report.kit import palette

Figure = dict[str, Any]
# Plotly's tool bar would cover a legend: dragging zooms and a double click goes back without these.
_TOOLS = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d", "pan2d", "zoom2d"]
LEGEND: Figure = {
    "orientation": "h",
    "x": 0,
    "y": 1.02,
    "yanchor": "bottom",
    "bgcolor": "rgba(0,0,0,0)",
}
AXIS: Figure = {"gridcolor": palette.GRID, "zerolinecolor": palette.GRID, "automargin": True}


def layout(name: str, told: str, *, height: int = 270, **more: object) -> Figure:
    """A plotly layout; `name` tells figures apart for the reader's zoom, `told` says what one shows: its
    name for a screen reader (`meta`), on the page and in the report."""
    return {
        "meta": told,
        "template": "none",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 12, "color": "#767676"},
        "margin": {"l": 44, "r": 12, "t": 28, "b": 36},
        "height": height,
        "hovermode": "closest",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "#767676",
            "activecolor": "#16857f",
            "remove": _TOOLS,
        },
        "legend": LEGEND,
        "uirevision": name,
        "xaxis": dict(AXIS),
        "yaxis": dict(AXIS),
        **more,
    }


def plain(words: str) -> str:
    """Plotly reads a little HTML in names: angle brackets and ampersands must stay what they are."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
