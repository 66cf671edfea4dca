"""Runs beside each other: what differs in their settings, and in their scores with intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError
from unlearn_core.store.store import RunRecord, RunStore
from unlearn_core.store.table.rows import RunQuery, RunRow

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson

MAX_COMPARED = 4
CONFIDENCE = 0.95
_MEASURES = {
    "forget": "Forgotten (mean of the forget terms)",
    "retain": "Retained (mean of the retain terms)",
    "neighbours": "Neighbours kept",
    "seconds": "Seconds",
}


@dataclass(frozen=True)
class MeanWithInterval:
    """A mean over `num` seeds with the 95 % t interval, cut where the measure ends; `low` and `high` are
    None for a single seed."""

    mean: float
    num: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ComparedRun:
    """One of the runs on screen, and the runs that repeat it with other seeds (itself among them)."""

    record: RunRecord
    row: RunRow
    repeats: tuple[RunRow, ...]

    def values(self, measure: str) -> list[float]:
        """The measure of every repetition that has it."""
        found = (getattr(row, measure) if measure in _MEASURES else row.totals.get(measure) for row in self.repeats)
        return [float(value) for value in found if value is not None]


def compared(store: RunStore, ids: Sequence[str], owner: str | None = None) -> list[ComparedRun]:
    """The runs in the order given, each with its repetitions; those that differ in the seed alone stand for
    themselves, for else they would be compared with themselves. `owner` is a hash that limits the
    repetitions to one visitor's runs. InputError for unknown ids and for too few or too many."""
    chosen = list(dict.fromkeys(ids))
    if not 2 <= len(chosen) <= MAX_COMPARED:
        raise InputError("runs", len(chosen), "cannot be compared", f"Pick 2 to {MAX_COMPARED} runs.")
    found = []
    records = [store.shown(run_id) for run_id in chosen]
    rows = [store.rows(RunQuery(ids=(run_id,)))[0][0] for run_id in chosen]
    setups = [(row.setup, row.ground) for row in rows]
    for record, row, setup in zip(records, rows, setups, strict=True):
        query = RunQuery(setup=row.setup, ground=row.ground, status="finished", owner=owner, limit=100)
        others = store.rows(query)[0] if setups.count(setup) == 1 else []
        found.append(ComparedRun(record, row, _by_seed([row, *others])))
    return found


@dataclass(frozen=True)
class ComparisonRow:
    """One score of the compared runs: each run's mean, and how far each but the first is from the first."""

    measure: str
    title: str
    means: tuple[MeanWithInterval | None, ...]
    gaps: tuple[MeanWithInterval | None, ...]


def measures(runs: Sequence[ComparedRun]) -> dict[str, str]:
    """What the runs are compared by, with titles: the totals of their benchmarks, then what every run has."""
    totals = {name: title for run in runs for row in run.repeats for name, title in row.titles.items()}
    return {name: f"{title[:1].upper()}{title[1:]}" for name, title in reversed(totals.items())} | _MEASURES


def score_lines(runs: Sequence[ComparedRun]) -> list[ComparisonRow]:
    """A line for every measure; None where no seed has it. Intervals of shares end where shares end."""
    lines = []
    for measure, title in measures(runs).items():
        first, *others = values = [run.values(measure) for run in runs]
        low, high = _reach([value for each in values for value in each], measure)
        means = tuple(_within(estimate(each), low, high) for each in values)
        gaps = tuple(_within(difference(first, other), low - high, high - low) for other in others)
        lines.append(ComparisonRow(measure, title, means, gaps))
    return lines


def _reach(values: Sequence[float], measure: str) -> tuple[float, float]:
    """The least and the most a measure can be: seconds are not negative, and what lies in 0..1 is a share."""
    if measure == "seconds":
        return 0.0, math.inf
    return (0.0, 1.0) if all(0 <= value <= 1 for value in values) else (-math.inf, math.inf)


def to_json(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """The comparison as data: the runs with their seeds, every score, every setting."""
    told = [
        {
            "run_id": run.record.id,
            "name": run.record.name,
            "tags": list(run.record.tags),
            "seeds": [row.seed for row in run.repeats],
        }
        for run in runs
    ]
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


def estimate(values: Sequence[float]) -> MeanWithInterval | None:
    """The mean of independent seeds with Student's t interval; None where there are no values."""
    if not values:
        return None
    mean, num = fmean(values), len(values)
    if num < 2:
        return MeanWithInterval(mean, num)
    reach = _quantile(num - 1) * math.sqrt(variance(values) / num)
    return MeanWithInterval(mean, num, mean - reach, mean + reach)


def difference(ours: Sequence[float], theirs: Sequence[float]) -> MeanWithInterval | None:
    """Mean of `theirs` minus mean of `ours`, with Welch's t interval where both have two seeds or more."""
    if not ours or not theirs:
        return None
    mean, num = fmean(theirs) - fmean(ours), min(len(ours), len(theirs))
    if num < 2:
        return MeanWithInterval(mean, num)
    a, b = variance(ours) / len(ours), variance(theirs) / len(theirs)
    if a + b == 0:
        return MeanWithInterval(mean, num, mean, mean)
    freedom = (a + b) ** 2 / (a**2 / (len(ours) - 1) + b**2 / (len(theirs) - 1))
    reach = _quantile(freedom) * math.sqrt(a + b)
    return MeanWithInterval(mean, num, mean - reach, mean + reach)


def _within(found: MeanWithInterval | None, least: float, most: float) -> MeanWithInterval | None:
    """The estimate with its interval cut to what is possible."""
    if found is None or found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, least), high=min(found.high, most))


def settings_beside(specs: Sequence[SpecJson]) -> list[tuple[str, list[str], bool]]:
    """Every setting of the runs: its name, its value in each ("-" where it has none), whether they differ."""
    flat = [{**{k: v for k, v in spec.items() if k != "settings"}, **spec.get("settings", {})} for spec in specs]
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
