"""Compared runs in one chart: how their secrets faded and what they kept, over the same share of the training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearn_core.report.kit import palette
from unlearn_core.report.kit.figure import figure, scatter
from unlearn_core.report.run.live.curves import LOG_PROBABILITY, decimate, middle_of
from unlearn_core.runs.state import RunState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SPLITS = (("forget", "to forget", "solid"), ("retain", "to keep", "dot"))
COLORS = ("#b9540f", "#8a5bc4", "#0b7a7a", "#9a1fdc")  # of the letters A to D in style.css


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
    return {palette.LETTERS[place]: stories[run_id] for place, run_id in enumerate(ids) if run_id in stories}
