"""A small grid of settings and seeds as runs that wait in the queue, bound together by a tag."""

from __future__ import annotations

import itertools
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from unlearn_core.errors import InputError, LetheError
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import OPEN, RunStore, owner_hash
from unlearn_core.store.table.rows import RunQuery, RunRow

MAX_RUNS = 64
PREFIX = "sweep "


def grid(base: RunSpec, values: Mapping[str, Sequence[object]], seeds: Sequence[int]) -> list[RunSpec]:
    """`base` with every combination of the values, for every seed; checked before anything is queued.

    `values` maps a parameter of the method (or "steps") to what it should take in turn, as text or numbers.
    """
    from unlearn_core.methods import build

    if not seeds:
        raise InputError("seeds", "", "are missing", "Give at least one, for example 0.")
    for name, options in values.items():
        if not options:
            raise InputError(name, "", "has no values", "Give some, separated by commas.")
    number = len(seeds) * math.prod(map(len, values.values()))
    if number > MAX_RUNS:
        raise InputError("sweep", number, "runs are too many", f"Use at most {MAX_RUNS}.")
    specs = []
    for point in itertools.product(*values.values()):
        chosen = dict(zip(values, point, strict=True))
        steps = _steps(chosen.pop("steps", base.steps))
        method = build(base.method, {**base.settings, **chosen}, steps)
        settings = {name: getattr(method, name) for name in {**base.settings, **chosen}}
        name = ", ".join(f"{key}={_short(value)}" for key, value in zip(values, point, strict=True))
        for seed in seeds:
            shown = f"{base.method} {name}".strip()
            specs.append(replace(base, settings=settings, steps=steps, seed=seed, name=shown[:80]))
    return specs


def parse_values(text: str) -> list[str]:
    """`0.1, 0.2,0.4` as its parts, doubles dropped."""
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def parse_seeds(text: str) -> list[int]:
    """`0, 1, 2` or `0-4` as numbers."""
    seeds: list[int] = []
    for part in parse_values(text):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise InputError("seeds", part, "is not a seed", "Write, for example, 0, 1, 2 or 0-4.")
        start, stop = int(first), int(last or first)
        if stop - start >= MAX_RUNS:
            raise InputError("seeds", part, "are too many", f"Use at most {MAX_RUNS}.")
        seeds += range(start, stop + 1)
    return list(dict.fromkeys(seeds))


def start(worker: Worker, specs: Sequence[RunSpec], owner: str | None = None) -> str:
    """Queue the runs under a new tag, which is returned; all of them or, where one is refused, none."""
    tag = PREFIX + secrets.token_hex(3)
    queued: list[str] = []
    try:
        for spec in specs:
            run_id = worker.submit(spec, owner)
            queued.append(run_id)
            worker.store.label(run_id, owner, tags=[tag])
    except LetheError:
        for run_id in queued:
            worker.cancel(run_id, owner)
            worker.wait(run_id, 60)
            worker.store.delete(run_id, owner)
        raise
    return tag


@dataclass(frozen=True)
class SweepState:
    """How far a sweep has come; `seconds_left` goes by the runs that are done, None before the first."""

    tag: str
    rows: tuple[RunRow, ...]
    seconds_left: float | None

    @property
    def done(self) -> int:
        return sum(row.status not in OPEN for row in self.rows)

    @property
    def over(self) -> bool:
        return self.done == len(self.rows)

    def number(self, status: str) -> int:
        return sum(row.status == status for row in self.rows)


def state(store: RunStore, tag: str, owner: str | None = None) -> SweepState:
    """The runs of a sweep in the order they were queued; `owner` is a hash. InputError for an unknown tag."""
    rows, _ = store.rows(RunQuery(tag=tag, owner=owner, descending=False, limit=MAX_RUNS))
    if not tag.startswith(PREFIX) or not rows:
        raise InputError("sweep", tag, "is not a sweep that is here for you", "Check its name.")
    took = [row.seconds for row in rows if row.status == "finished" and row.seconds]
    left = sum(row.status in OPEN for row in rows)
    return SweepState(tag, tuple(rows), left * sum(took) / len(took) if took else None)


def latest(store: RunStore, owner: str | None = None) -> str:
    """The tag of the newest sweep that still has open runs, "" where there is none; `owner` is a hash."""
    for status in OPEN:
        rows, _ = store.rows(RunQuery(text=PREFIX.strip(), status=status, owner=owner, limit=100))
        for row in rows:
            for tag in row.tags:
                if tag.startswith(PREFIX):
                    return tag
    return ""


def cancel(worker: Worker, tag: str, owner: str | None = None) -> int:
    """Stop every run of a sweep that is not over, the waiting ones first; how many there were."""
    mine = owner_hash(owner) if owner or worker.public else None
    rows = [row for row in state(worker.store, tag, mine).rows if row.status in OPEN]
    for row in sorted(rows, key=lambda row: row.status == "running"):
        worker.cancel(row.id, owner)
    return len(rows)


def _steps(value: Any) -> int | None:
    if value is None or isinstance(value, int):
        return value
    if not str(value).strip().isdigit():
        raise InputError("steps", value, "is not a number of steps", "Use a whole number.")
    return int(value)


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
