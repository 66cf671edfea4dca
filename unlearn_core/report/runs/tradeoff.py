"""Forgetting against what is kept, one mark a run, with the fixed points that every run is read against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn_core.report.kit import palette
from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.figure import Properties, figure, plain, scatter
from unlearn_core.report.kit.format import score
from unlearn_core.report.kit.markup import Safe, details, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.store.references import ReferencePoint
from unlearn_core.store.table.rows import RunRow

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

KEEPING = {"Retain set": "retain", "Utility": "utility"}  # what the across axis can show
_SYMBOLS = {"original": "circle", "retain_only": "star", "wiped": "x-thin"}
_HOVER = "%{text}<br>keeping %{x:.3f}<br>forgotten %{y:.3f}<extra></extra>"


def tradeoff_figure(
    rows: Sequence[RunRow], points: Sequence[ReferencePoint], keeping: str, picked: Mapping[str, str]
) -> Figure:
    """Marks shaped and coloured by verdict, reference points named, picked runs ringed with their letter.
    `keeping` is a field of RunRow; `picked` maps run ids to letters."""
    traces = []
    for point in points:
        if point.row is not None and _known(point.row, keeping):
            color, symbol = palette.MODELS[point.model], _SYMBOLS[point.model]
            marker = {"color": color, "symbol": symbol, "size": 15, "line": {"width": 3, "color": color}}
            traces.append(_marks(point.title, [point.row], keeping, marker))
    for label, (color, symbol) in palette.VERDICTS.items():
        shown = [row for row in rows if row.verdict == label and _known(row, keeping)]
        if shown:
            marker = {"color": color, "symbol": symbol, "size": 9, "opacity": 0.8}
            traces.append(_marks(label, shown, keeping, marker))
    ringed = [row for row in rows if row.id in picked and _known(row, keeping)]
    if ringed:
        marker = {"color": "rgba(0,0,0,0)", "size": 19, "line": {"width": 2, "color": "#767676"}}
        trace = _marks("picked", ringed, keeping, marker)
        traces.append(trace | {"showlegend": False, "hoverinfo": "skip", "hovertemplate": None})
    across = "kept: utility" if keeping == "utility" else "kept: mean of the retain terms"
    axes = {
        side: {"title": {"text": words, "standoff": 6}, "range": _range(traces, side[0])}
        for side, words in (("xaxis", across), ("yaxis", "forgotten: mean of 1 - forget terms"))
    }
    told = "Runs by what they keep and forget"
    named = {"legend": {"itemsizing": "constant"}, "annotations": _letters(ringed, keeping, picked)}
    return figure(traces, "tradeoff", told, height=420, **named, **axes)


def tradeoff_table(rows: Sequence[RunRow], points: Sequence[ReferencePoint]) -> Safe:
    """The table behind the plot, reference points first, with the data to download."""
    header = ("Name", "Verdict", "Forgotten", "Retained", "Utility", "Total")
    named = [(point.title, point.note, point.row) for point in points]
    named += [(row.name, row.verdict, row) for row in rows]
    body = ([name, words, *map(score, _values(row))] for name, words, row in named[:100])
    made = table(header, body, numbers=range(2, 6), titled=False)
    link = csv_link("forgetting-and-keeping.csv", header, ([n, w, *_values(row)] for n, w, row in named))
    more = f"The first 100 of {len(named)} are shown; the download has all. " if len(named) > 100 else ""
    return details("The figures behind this plot", tag("p", more, link), scrolled(made, "Data of the plot"))


def _range(traces: Sequence[Properties], axis: str) -> list[float]:
    """The part of the scale from 0 to 1 that holds every mark, with room around it."""
    values = [value for trace in traces for value in trace[axis]]
    least, most = (min(values), max(values)) if values else (0.0, 1.0)
    room = max(0.08, 0.15 * (most - least))
    return [max(-0.05, least - room), min(1.08, most + room)]


def _letters(ringed: Sequence[RunRow], keeping: str, picked: Mapping[str, str]) -> list[Properties]:
    """The letters of the picked runs, in the order of their marks from above: so no line crosses another."""
    ordered = sorted(ringed, key=lambda row: (-round(row.forget or 0.0, 4), picked[row.id]))
    return [_letter(row, keeping, picked[row.id], place) for place, row in enumerate(ordered)]


def _letter(row: RunRow, keeping: str, letter: str, place: int) -> Properties:
    """A run's letter on a line from its mark, each at a height of its own: marks often share a spot."""
    x = round(getattr(row, keeping), 4)
    return {
        "x": x,
        "y": round(row.forget or 0.0, 4),
        "text": f"<b>{letter}</b>",
        "showarrow": True,
        "ax": 42 if x < 0.2 else -42,
        "ay": 24 * place - 22,
        "arrowhead": 0,
        "arrowwidth": 1,
        "arrowcolor": palette.TOTAL,
        "standoff": 9,
        "font": {"size": 13},
    }


def _marks(name: str, rows: Sequence[RunRow], keeping: str, marker: Properties) -> Properties:
    points = [(getattr(row, keeping), row.forget or 0.0) for row in rows]
    return scatter(name, points, hovertemplate=_HOVER, text=[plain(row.name) for row in rows], marker=marker)


def _known(row: RunRow, keeping: str) -> bool:
    return row.forget is not None and getattr(row, keeping) is not None


def _values(row: RunRow | None) -> list[float | None]:
    return [None] * 4 if row is None else [row.forget, row.retain, row.utility, row.summed_up[1]]
