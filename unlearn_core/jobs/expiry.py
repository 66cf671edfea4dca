"""What strangers leave behind goes: after some days, or when the home grows too large."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from unlearn_core.data.sources import UPLOAD
from unlearn_core.errors import LetheError
from unlearn_core.limits import KEPT_BYTES, KEPT_DAYS, KEPT_UPLOADS
from unlearn_core.store.store import OPEN, RunStore
from unlearn_core.system.files import read_json, write_json
from unlearn_core.system.log import note
from unlearn_core.system.periodic import PeriodicThread

_DAY = 86_400
_EVERY = 600  # seconds between two looks
_JUMP = 3600.0  # seconds by which the clock may go wrong between two looks
_STEADY = float(_DAY)  # that the clock must have gone evenly before anything is deleted for its age
CLOCK = "clock.json"


@dataclass(frozen=True)
class Deleted:
    """How much was deleted."""

    runs: int = 0
    uploads: int = 0


@dataclass(frozen=True)
class _Expiring:
    """A run that is over, or an upload."""

    name: str
    made: float
    size: int
    is_run: bool


def expire(
    store: RunStore,
    now: float | None = None,
    days: float = KEPT_DAYS,
    most: int = KEPT_BYTES,
    uploads: int = KEPT_UPLOADS,
) -> Deleted:
    """Delete what is older than `days`, then the oldest until all that is left takes at most `most` bytes and
    there are at most so many `uploads`."""
    now = time.time() if now is None else now
    things = sorted(_things(store), key=lambda thing: thing.made)
    total, doomed = sum(thing.size for thing in things), []
    left = sum(not thing.is_run for thing in things)
    for thing in things:
        too_many = left > uploads and not thing.is_run
        if now - thing.made > days * _DAY or total > most or too_many:
            doomed.append(thing)
            total -= thing.size
            left -= not thing.is_run
    return _delete(store, doomed)


class SteadyClock:
    """Whether the time of day can be believed: a clock that is set forward by years makes everything old.

    It has to agree with the one that nobody sets, and to have gone evenly for a day in all, which is kept in
    the home over restarts.
    """

    def __init__(
        self,
        home: Path,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path, self._clock, self._ticks = home / CLOCK, clock, ticks
        self._last: float | None = None  # ticks at the last look of this process

    def look(self) -> bool:
        now, ticks = self._clock(), self._ticks()
        try:
            told = read_json(self._path)
            seen, even = float(told["seen"]), float(told["even"])
        except (OSError, ValueError, KeyError, TypeError):
            seen, even = now, 0.0
        passed = now - seen
        if self._last is None:  # nobody looked while there was no server
            jumped = not -_JUMP < passed < _DAY
        else:
            jumped = abs(passed - (ticks - self._last)) > _JUMP
        if jumped:
            note("the clock jumped", seconds=round(passed))
        even = 0.0 if jumped else even + max(0.0, passed)
        self._last = ticks
        with contextlib.suppress(LetheError):  # a full disk: all the more should go
            write_json(self._path, {"seen": now, "even": even})
        return even >= _STEADY


class ExpiryThread(PeriodicThread):
    """Lets things expire for as long as the server runs."""

    def __init__(self, store: RunStore) -> None:
        super().__init__("keeper", _EVERY)
        self.store, self._clock = store, SteadyClock(store.home)

    def look(self) -> None:
        expire(self.store, days=KEPT_DAYS if self._clock.look() else math.inf)


def _things(store: RunStore) -> Iterator[_Expiring]:
    kept = set()  # the data of the runs that ship stays with them
    for record in store.list_runs(limit=1_000_000):
        if record.is_recorded:
            kept.add(str(record.spec["data"]).removeprefix(UPLOAD))
        elif record.status not in OPEN:
            yield _Expiring(record.id, record.created, _size(store.folder(record.id)), True)
    for folder in store.uploads.iterdir():
        if folder.name in kept:
            continue
        with contextlib.suppress(OSError):
            yield _Expiring(folder.name, folder.stat().st_mtime, _size(folder), False)


def _delete(store: RunStore, things: list[_Expiring]) -> Deleted:
    runs = uploads = 0
    for thing in things:
        if not thing.is_run:
            store.drop_upload(thing.name)
            uploads += 1
            continue
        with contextlib.suppress(LetheError):  # deleted meanwhile, or started again
            store.delete(thing.name, operator=True)
            runs += 1
    if runs:
        store.forget_deleted()
    return Deleted(runs, uploads)


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
