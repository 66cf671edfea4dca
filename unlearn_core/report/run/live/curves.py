"""The curves of a run as plotly figures, pure functions of its events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.report.kit import palette
from unlearn_core.report.kit.figure import Properties, figure, level, plain, scatter
from unlearn_core.report.kit.format import shorten
from unlearn_core.report.kit.markup import Safe
from unlearn_core.report.kit.table import data_table
from unlearn_core.runs.events import FactProbe
from unlearn_core.runs.state import RunState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from unlearn_core.training.records import WatchedFact

Item = TypeVar("Item")
MAX_POINTS = 400  # per line; more would be slow to draw and look the same

LOSS, ANSWERS = "Loss by step, nats per token", "Probability of the watched answers as a whole, by step"
LEAST = 1e-12  # smaller probabilities are drawn as this: the log scale has to end somewhere
LOG_PROBABILITY: Properties = {
    "type": "log",
    "range": [-12.3, 0.3],
    "hoverformat": ".2g",
    "exponentformat": "power",
    "nticks": 7,
}
_LOSSES = (
    ("forget", "Forget set", palette.SETS["forget"], "solid"),
    ("retain", "Retain set", palette.SETS["retain"], "solid"),
    ("total", "Total", palette.TOTAL, "dot"),
)
_FACTS = (
    ("forget", "To forget, should fall \u2193", "solid"),
    ("retain", "Retain canary, should stay", "dash"),
    ("neighbours", "Neighbours canary, should stay", "dashdot"),
    ("general", "Utility canary, should stay", "dot"),
)


def loss_figure(story: RunState) -> Figure:
    """Forget, retain and total loss against the step, in the method's own units; each name says which way
    its line should go."""
    steps = decimate(story.steps)
    rises = story.started is None or story.started.forget_rises
    way = {"forget": "rise \u2191" if rises else "fall \u2193", "retain": "stay low", "total": "fall \u2193"}
    traces = []
    for key, title, color, dash in _LOSSES:
        points = [(s.step, s.losses[key]) for s in steps if _is_finite(s.losses.get(key))]
        if points:
            traces.append(_line(f"{title}, should {way[key]}", points, color, dash))
    last = story.steps[-1].num_steps if story.steps else (story.started.num_steps if story.started else 0)
    axis: Properties = {"hoverformat": ".4g", "nticks": 6} | ({} if traces else {"range": [0, 5]})
    unseen = unseen_level(story)
    reference = {} if unseen is None else _reference(unseen, unseen, "documents never seen")
    return figure(traces, "loss", LOSS, hovermode="x unified", xaxis=_steps(last), yaxis=axis, **reference)


def unseen_level(story: RunState) -> float | None:
    """Mean loss (nats per token) of never-trained documents under the original model: how unlikely text is
    that was not learned, and so how far the forget set has to go."""
    original = story.scores.get("original")
    losses = original.details.nonmember_losses if original else None
    return _mean([float(loss) for loss in losses]) if losses else None


def facts_figure(story: RunState) -> Figure:
    """Probability of whole answers against the step, on a log scale: each secret, and the geometric means of the
    secrets and of every canary; dashed, the secrets' mean under the model that never saw them."""
    traces = []
    probes = decimate(story.probes)
    for split, title, dash in _FACTS:
        ids = [fact.id for fact in probes[0].facts if fact.split == split] if probes else []
        for fact_id in ids if split == "forget" else ():
            seen = [(p.step, f.probability) for p in probes for f in p.facts if _is(f, fact_id, split)]
            points = [(step, max(chance, LEAST)) for step, chance in seen if chance is not None]
            first = next(f for f in probes[0].facts if _is(f, fact_id, split))
            if points:
                line = _line(plain(shorten(first.prompt, 60)), points, _color(split), "solid", width=1)
                traces.append(line | {"opacity": 0.45, "showlegend": False, "legendgroup": split})
        means = [(p.step, middle_of(p, split)) for p in probes]
        points = [(step, mean) for step, mean in means if mean is not None]
        if points:
            traces.append(_line(title, points, _color(split), dash, width=3) | {"legendgroup": split})
    last = story.started.num_steps if story.started else 0
    never = never_trained(story)
    reference = {} if never is None else _reference(never, math.log10(never), "retain-only model")
    return figure(traces, "facts", ANSWERS, xaxis=_steps(last), yaxis=LOG_PROBABILITY, **reference)


def never_trained(story: RunState) -> float | None:
    """The geometric mean of the watched secrets' probabilities under the retain-only model."""
    gold = story.scores.get("retain_only")
    found = {} if gold is None else gold.details.watched
    ids = [fact.id for fact in story.probes[0].facts if fact.split == "forget"] if story.probes else []
    logs = [float(found[name]) for name in ids if name in found]
    return max(LEAST, math.exp(sum(logs) / len(logs))) if logs else None


def losses_table(story: RunState) -> Safe:
    """The numbers behind `loss_figure`; "" before the first step."""
    kinds = [(key, title) for key, title, *_ in _LOSSES if any(key in s.losses for s in story.steps)]
    rows = [[step.step, *(step.losses.get(key) for key, _ in kinds)] for step in story.steps]
    return data_table(LOSS, ["Step", *(title for _, title in kinds)], rows, "losses.csv")


def probes_table(story: RunState) -> Safe:
    """The numbers behind `facts_figure`: a column for each watched fact; "" before the first probe."""
    facts = story.probes[0].facts if story.probes else ()
    names = [f"{fact.split}: {shorten(fact.prompt, 60)}" for fact in facts]
    rows = [[probe.step, *(fact.probability for fact in probe.facts)] for probe in story.probes]
    return data_table(ANSWERS, ["Step", *names], rows, "answers.csv")


def mean_of(probe: FactProbe, split: str) -> float | None:
    """Mean probability per token of the watched answers of one split at one look."""
    return _mean([fact.per_token for fact in probe.facts if fact.split == split and fact.per_token is not None])


def middle_of(probe: FactProbe, split: str) -> float | None:
    """The geometric mean of the whole answers' probabilities of one split at one look."""
    known = [fact.probability for fact in probe.facts if fact.split == split and fact.probability is not None]
    return math.exp(sum(math.log(max(chance, LEAST)) for chance in known) / len(known)) if known else None


def _color(split: str) -> str:
    return palette.SETS.get(split, palette.SETS["retain"])  # neighbours are kept, as the retain set is


def decimate(points: Sequence[Item], limit: int = MAX_POINTS) -> list[Item]:
    """At most `limit` points, evenly spread, always with the first and the last."""
    if len(points) <= limit:
        return list(points)
    stride = (len(points) - 1) / (limit - 1)
    return [points[round(i * stride)] for i in range(limit)]


def _reference(at: float, height: float, title: str) -> Properties:
    """A dashed level across the chart, named at its right end, at a `height` that is a logarithm on a log scale."""
    name = {
        "xref": "paper",
        "x": 1,
        "y": height,
        "text": title,
        "showarrow": False,
        "xanchor": "right",
        "yanchor": "bottom",
        "font": {"size": 11},
    }
    return {"shapes": [level(at)], "annotations": [name]}


def _line(title: str, points: list[tuple[int, float]], color: str, dash: str, width: int = 2) -> Properties:
    mode = "lines" if len(points) > 1 else "markers"
    line, marker = {"color": color, "width": width, "dash": dash}, {"color": color, "size": 6}
    return scatter(title, points, mode, line=line, marker=marker)


def _steps(last: int) -> Properties:
    """The axis of the steps of a run."""
    axis: Properties = {"title": {"text": "step", "standoff": 4}, "nticks": 6}
    return axis | ({"range": [-0.02 * last, 1.02 * last]} if last > 0 else {})


def _is(fact: WatchedFact, fact_id: str, split: str) -> bool:
    return fact.id == fact_id and fact.split == split


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
