"""Runs as lines across their settings and scores: which values led where.

Drawn as plain lines on axes of their own scale, so that it works without a graphics card and prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from unlearn_core.report import palette
from unlearn_core.report.csvfile import csv_link
from unlearn_core.report.figure import Figure, layout, plain
from unlearn_core.report.format import MISSING, shorten
from unlearn_core.report.markup import Safe, details, tag
from unlearn_core.runs.rows import RunRow

MAX_LINES = 150
MAX_RUNGS = 8  # with more words on an axis only its ends are named
SCORES = (("forget", "forgotten"), ("retain", "retained"), ("final", "final"))


def dimensions(rows: Sequence[RunRow]) -> list[str]:
    """The settings in which these runs differ, the method and the seed among them."""
    names = list(dict.fromkeys(name for row in rows for name in _settings(row)))
    return [name for name in names if len({str(_settings(row).get(name)) for row in rows}) > 1]


def parallel_figure(rows: Sequence[RunRow]) -> Figure:
    """One line a run, coloured by verdict, across what differs and then the scores."""
    shown = [row for row in rows if row.final is not None or row.forget is not None][:MAX_LINES]
    names = dimensions(shown)
    axes = [_Axis(name, [_settings(row).get(name) for row in shown]) for name in names]
    scores = {title: [getattr(row, key) for row in shown] for key, title in SCORES}
    axes += [_Axis(title, found, (0.0, 1.0)) for title, found in scores.items() if set(found) != {None}]
    labels = dict.fromkeys(row.verdict for row in shown)
    traces = [_lines(label, shown, axes) for label in labels]
    places = list(range(len(axes)))
    across = {
        "tickmode": "array", "tickvals": places, "ticktext": [plain(shorten(a.name, 16)) for a in axes],
        "range": [-0.4, len(axes) - 0.6], "showgrid": False, "zeroline": False,
        "tickangle": -30 if len(axes) > 4 else 0, "automargin": True,
    }  # fmt: skip
    up = {"range": [-0.12, 1.12], "visible": False}
    notes = [
        {"x": place, "y": y, "text": plain(words), "showarrow": False, "font": {"size": 10}, **beside}
        for place, axis in enumerate(axes)
        for y, words, beside in axis.notes
    ]
    uprights = [  # not the grid, which would run through the words at its ends
        {"type": "line", "x0": place, "x1": place, "y0": 0, "y1": 1, "layer": "below",
         "line": {"color": "rgba(128,128,128,0.6)", "width": 1}}
        for place in places
    ]  # fmt: skip
    name = "Runs across their settings and scores"
    drawn = layout(
        "parallel",
        name,
        height=360,
        xaxis=across,
        yaxis=up,
        annotations=notes,
        shapes=uprights,
    )
    return {"data": traces, "layout": drawn}


def _lines(label: str, rows: Sequence[RunRow], axes: Sequence[_Axis]) -> dict[str, Any]:
    """All runs of one verdict as one trace, with a gap after each: a trace a run takes plotly seconds."""
    color, _ = palette.VERDICTS.get(label, (palette.TOTAL, ""))
    across: list[int | None] = []
    up: list[float | None] = []
    told: list[str] = []
    for i, row in enumerate(rows):
        if row.verdict != label:
            continue
        for place, axis in enumerate(axes):
            if (y := axis.at(i)) is not None:
                across.append(place)
                up.append(y)
                told.append(plain(f"{row.name}: {axis.name} {axis.words[i]}"))
        across.append(None)
        up.append(None)
        told.append("")
    return {
        "type": "scatter", "mode": "lines+markers", "name": label or "no verdict", "opacity": 0.65,
        "x": across, "y": up, "text": told, "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": color, "width": 2}, "marker": {"color": color, "size": 5},
    }  # fmt: skip


def parallel_table(rows: Sequence[RunRow]) -> Safe:
    """The table behind the lines, with the data to download."""
    names = dimensions(rows)
    header = ["Name", *names, *(title for _, title in SCORES)]
    cells = [
        [row.name, *(_chosen(_settings(row).get(n)) for n in names), *(getattr(row, k) for k, _ in SCORES)]
        for row in rows
    ]
    head = tag("tr", *(tag("th", words, scope="col") for words in header))
    body = [tag("tr", *(tag("td", MISSING if cell is None else _short(cell)) for cell in line))
            for line in cells[:100]]  # fmt: skip
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="le-table")
    link = csv_link("settings-and-scores.csv", header, cells)
    scroll = tag(
        "div", table, class_="le-scroll", tabindex="0", role="region", aria_label="Data of the lines"
    )
    return details("The figures behind these lines", tag("p", link), scroll)


class _Axis:
    """One upright: numbers on their own scale, anything else on evenly spread rungs."""

    def __init__(self, name: str, values: Sequence[Any], span: tuple[float, float] | None = None) -> None:
        self.name = name
        self.words = [_short(value) for value in values]
        numbers = [
            value for value in values if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(numbers) == sum(value is not None for value in values) and numbers:
            low, high = span or (min(numbers), max(numbers))
            self._places = [None if v is None else (v - low) / ((high - low) or 1) for v in values]
            self._ends = _short(low), _short(high)
            self._rungs: list[str] = []
        else:
            rungs = sorted(set(self.words)) or [""]
            self._places = [rungs.index(words) / max(1, len(rungs) - 1) for words in self.words]
            self._ends = rungs[0], rungs[-1]
            self._rungs = rungs[1:-1] if len(rungs) <= MAX_RUNGS else []

    @property
    def notes(self) -> list[tuple[float, str, dict[str, Any]]]:
        """What stands at the axis: height, words, and where they go. The ends stand below and above it, the
        rungs between them beside it."""
        low, high = (shorten(words, 14) for words in self._ends)
        ends: list[tuple[float, str, dict[str, Any]]] = [(-0.07, low, {})]
        ends += [(1.07, high, {})] if high != low else []
        steps = len(self._rungs) + 1
        beside = {"xanchor": "left", "xshift": 5}
        return ends + [
            (place / steps, shorten(words, 14), beside) for place, words in enumerate(self._rungs, 1)
        ]

    def at(self, index: int) -> float | None:
        place = self._places[index]
        return None if place is None else round(float(place), 4)


def _settings(row: RunRow) -> dict[str, Any]:
    return {"method": row.method, **row.settings, "seed": row.seed}


def _chosen(value: Any) -> Any:
    return "default" if value is None else value


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(_chosen(value))
