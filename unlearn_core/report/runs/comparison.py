"""Two to four runs beside each other: their settings, their scores with intervals over seeds, and in one chart how
their secrets faded and what they kept, over the same share of the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.figure import figure, scatter
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.palette import LETTERS
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.report.run.live.curves import LOG_PROBABILITY, decimate, middle_of
from unlearn_core.runs.state import RunState
from unlearn_core.store.table.compare import ComparedRun, MeanWithInterval, score_lines, settings_beside
from unlearn_core.system.units import MISSING

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_READ = (
    "Mean over the seeds of each run, with the 95% t interval; differences to A with Welch's interval. "
    "One seed has no interval: run the same settings with other seeds to get one. Runs that differ in the "
    "seed alone stand for themselves."
)
_SPLITS = (("forget", "to forget", "solid"), ("retain", "to keep", "dot"))
COLORS = ("#b9540f", "#8a5bc4", "#0b7a7a", "#9a1fdc")  # of the letters A to D in style.css


def comparison(runs: Sequence[ComparedRun]) -> Safe:
    """Scores first, then settings; what differs is marked."""
    return tag("div", _scores(runs), _settings(runs), class_="le-card")


def run_mark(place: int) -> Safe:
    """The letter of a run in its colour."""
    return tag("b", LETTERS[place], class_=f"le-letter le-run-{place}")


def show(found: MeanWithInterval | None, signed: bool = False, digits: int = 3) -> str:
    """`0.520 [0.480, 0.560]`; a difference with its sign."""
    if found is None:
        return MISSING
    form = f"+.{digits}f" if signed else f".{digits}f"
    if found.low is None or found.high is None:
        return f"{found.mean:{form}}"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _scores(runs: Sequence[ComparedRun]) -> Safe:
    others = list(enumerate(runs))[1:]
    heads = [_run_head(place, run) for place, run in enumerate(runs)]
    columns = ["Score", *heads, *(f"{LETTERS[place]} - A" for place, _ in others)]
    rows, cells = [], []
    for line in score_lines(runs):
        digits = 1 if line.measure == "seconds" else 3
        means = (show(mean, digits=digits) for mean in line.means)
        rows.append([line.title, *means, *(_gap(gap, digits) for gap in line.gaps)])
        cells.append([line.title, *(part for found in (*line.means, *line.gaps) for part in _parts(found))])
    parts = ("mean", "low", "high")
    header = ["score", *(f"{LETTERS[i]} {part}" for i in range(len(runs)) for part in parts)]
    header += [f"{LETTERS[i]}-A {part}" for i, _ in others for part in parts]
    scroll = scrolled(table(columns, rows, numbers=range(1, len(columns))), "Scores of the runs")
    link = csv_link("comparison.csv", header, cells)
    return join(tag("h3", "Scores"), tag("p", _READ, class_="le-muted"), scroll, tag("p", link))


def _run_head(place: int, run: ComparedRun) -> Safe:
    told = count(len(run.repeats), "seed")
    return join(run_mark(place), " ", shorten(run.record.name, 40), tag("div", told, class_="le-muted"))


def _gap(found: MeanWithInterval | None, digits: int) -> Safe:
    sure = found is not None and found.low is not None and found.high is not None
    clear = sure and found is not None and (found.low or 0) * (found.high or 0) > 0
    badge = tag("span", "differs", class_="le-tag") if clear else None
    return join(show(found, signed=True, digits=digits), " ", badge)


def _parts(found: MeanWithInterval | None) -> list[float | None]:
    return [None] * 3 if found is None else [found.mean, found.low, found.high]


def _settings(runs: Sequence[ComparedRun]) -> Safe:
    rows = settings_beside([run.record.spec for run in runs])
    differ = [row for row in rows if row[2]]
    alike = [row for row in rows if not row[2]]
    told = None if differ else tag("p", "The settings are the same.", class_="le-muted")
    return join(
        tag("h3", "Settings that differ"),
        told or _settings_table(runs, differ),
        details(f"{count(len(alike), 'setting')} alike", _settings_table(runs, alike)) if alike else None,
    )


def _settings_table(runs: Sequence[ComparedRun], rows: Sequence[tuple[str, list[str], bool]]) -> Safe:
    body = ([name, *(shorten(value, 120) for value in values)] for name, values, _ in rows)
    return scrolled(table(["Setting", *map(run_mark, range(len(runs)))], body), "Settings of the runs")


def overlay_figure(stories: Mapping[str, RunState]) -> Figure:
    """The geometric mean of the watched answers' probabilities of each run, by its letter; empty without any."""
    traces = []
    for place, (letter, story) in enumerate(stories.items()):
        last = max(1, story.probes[-1].step if story.probes else 1)
        for split, told, dash in _SPLITS:
            points = [(probe.step / last, middle_of(probe, split)) for probe in decimate(story.probes)]
            known = [(x, y) for x, y in points if y is not None]
            if known:
                line = {"color": COLORS[place % len(COLORS)], "width": 2, "dash": dash}
                traces.append(scatter(f"{letter}, {told}", known, "lines", line=line))
    across = {"title": {"text": "share of the training", "standoff": 4}, "tickformat": ".0%"}
    told = "Probability of the watched answers of each compared run over its training"
    return figure(traces, "overlay", told, height=300, xaxis=across, yaxis=LOG_PROBABILITY)


def letters(ids: list[str], stories: Mapping[str, RunState]) -> dict[str, RunState]:
    """The stories of the compared runs by their letters, in order."""
    return {LETTERS[place]: stories[run_id] for place, run_id in enumerate(ids) if run_id in stories}
