"""How long a run takes, told by runs of its kind on this machine: what those who wait are shown."""

from __future__ import annotations

from typing import Any

from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery, setup_of

_LATEST = 5


def same_seconds(store: RunStore, spec: RunSpec) -> float | None:
    """Mean seconds of the latest finished runs with the same settings, None where there are none."""
    return _mean_seconds(store, spec, setup=setup_of(spec.to_json()))


def usual_seconds(store: RunStore, spec: RunSpec) -> float | None:
    """The same, else of the same method on the same target, else of any method on it."""
    same = same_seconds(store, spec)
    return same or _mean_seconds(store, spec, method=spec.method) or _mean_seconds(store, spec)


def _mean_seconds(store: RunStore, spec: RunSpec, **kind: Any) -> float | None:
    rows, _ = store.rows(RunQuery(status="finished", made_here=True, limit=_LATEST, **kind))
    took = [row.seconds for row in rows if row.seconds and row.target == spec.target]
    return sum(took) / len(took) if took else None
