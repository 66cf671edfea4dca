"""Runs beside each other: what differs in their settings, and in their scores with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, variance
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.runs.rows import RunQuery, RunRow
from unlearn_core.runs.store import RunRecord, RunStore

MAX_COMPARED = 4
CONFIDENCE = 0.95
MEASURES = (
    ("final", "Final score"), ("aggregate", "Task aggregate"), ("membership", "Membership score"),
    ("utility", "Utility"), ("forget", "Forgotten (mean of 6 terms)"),
    ("retain", "Retained (mean of 6 terms)"), ("seconds", "Seconds"),
)  # fmt: skip
_HIGHEST = {"seconds": math.inf}  # what a measure can reach, where not 1; none falls below 0


@dataclass(frozen=True)
class Estimate:
    """A mean over `num` seeds with the 95 % t interval, cut where the measure ends; `low` and `high` are
    None for a single seed."""

    mean: float
    num: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Compared:
    """One of the runs on screen, and the runs that repeat it with other seeds (itself among them)."""

    record: RunRecord
    row: RunRow
    repeats: tuple[RunRow, ...]

    def values(self, measure: str) -> list[float]:
        """The measure of every repetition that has it."""
        found = (getattr(row, measure) for row in self.repeats)
        return [float(value) for value in found if value is not None]


def compared(store: RunStore, ids: Sequence[str], owner: str | None = None) -> list[Compared]:
    """The runs in the order given, each with its repetitions; those that differ in the seed alone stand for
    themselves, for else they would be compared with themselves. `owner` is a hash that limits the
    repetitions to one visitor's runs. InputError for unknown ids and for too few or too many."""
    chosen = list(dict.fromkeys(ids))
    if not 2 <= len(chosen) <= MAX_COMPARED:
        raise InputError("runs", len(chosen), "cannot be compared", f"Pick 2 to {MAX_COMPARED} runs.")
    found = []
    records = [store.get(run_id) for run_id in chosen]
    rows = [store.rows(RunQuery(ids=(run_id,)))[0][0] for run_id in chosen]
    setups = [(row.setup, row.ground) for row in rows]
    for record, row, setup in zip(records, rows, setups, strict=True):
        query = RunQuery(setup=row.setup, ground=row.ground, status="finished", owner=owner, limit=100)
        others = store.rows(query)[0] if setups.count(setup) == 1 else []
        found.append(Compared(record, row, _by_seed([row, *others])))
    return found


@dataclass(frozen=True)
class Line:
    """One score of the compared runs: each run's mean, and how far each but the first is from the first."""

    measure: str
    title: str
    means: tuple[Estimate | None, ...]
    gaps: tuple[Estimate | None, ...]


def score_lines(runs: Sequence[Compared]) -> list[Line]:
    """A line for every measure; None where no seed has it."""
    lines = []
    for measure, title in MEASURES:
        first, *others = values = [run.values(measure) for run in runs]
        most = _HIGHEST.get(measure, 1.0)
        means = tuple(_within(estimate(each), 0.0, most) for each in values)
        gaps = tuple(_within(difference(first, other), -most, most) for other in others)
        lines.append(Line(measure, title, means, gaps))
    return lines


def to_json(runs: Sequence[Compared]) -> dict[str, Any]:
    """The comparison as data: the runs with their seeds, every score, every setting."""
    told = [
        {"run_id": run.record.id, "name": run.record.name, "tags": list(run.record.tags),
         "seeds": [row.seed for row in run.repeats]}
        for run in runs
    ]  # fmt: skip
    settings = settings_beside([run.record.spec for run in runs])
    return {
        "runs": told,
        "scores": [asdict(line) for line in score_lines(runs)],
        "settings": [{"name": n, "values": v, "differs": differs} for n, v, differs in settings],
    }


def _by_seed(rows: list[RunRow]) -> tuple[RunRow, ...]:
    """One row a seed, the first given: the same seed again is the same run, no further evidence."""
    seen: dict[int, RunRow] = {}
    for row in rows:
        seen.setdefault(row.seed, row)
    return tuple(seen[seed] for seed in sorted(seen))


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of independent seeds with Student's t interval; None where there are no values."""
    if not values:
        return None
    mean, num = fmean(values), len(values)
    if num < 2:
        return Estimate(mean, num)
    reach = _quantile(num - 1) * math.sqrt(variance(values) / num)
    return Estimate(mean, num, mean - reach, mean + reach)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> Estimate | None:
    """Mean of `theirs` minus mean of `ours`, with Welch's t interval where both have two seeds or more."""
    if not ours or not theirs:
        return None
    mean, num = fmean(theirs) - fmean(ours), min(len(ours), len(theirs))
    if num < 2:
        return Estimate(mean, num)
    a, b = variance(ours) / len(ours), variance(theirs) / len(theirs)
    if a + b == 0:
        return Estimate(mean, num, mean, mean)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    reach = _quantile(freedom) * math.sqrt(a + b)
    return Estimate(mean, num, mean - reach, mean + reach)


def _within(found: Estimate | None, least: float, most: float) -> Estimate | None:
    """The estimate with its interval cut to what is possible."""
    if found is None or found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, least), high=min(found.high, most))


def settings_beside(specs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str], bool]]:
    """Every setting of the runs: its name, its value in each ("-" where it has none), whether they differ."""
    flat = [
        {**{k: v for k, v in spec.items() if k != "settings"}, **spec.get("settings", {})} for spec in specs
    ]
    names = list(dict.fromkeys(name for spec in flat for name in spec))
    rows = []
    for name in names:
        values = [_plain(spec.get(name)) for spec in flat]
        rows.append((name, values, len(set(values)) > 1))
    return rows


def _plain(value: object) -> str:
    if value is None or value == "" or value == {}:
        return "-"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, freedom))
