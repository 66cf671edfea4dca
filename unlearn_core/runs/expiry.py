"""What strangers leave behind goes: after some days, when the home grows too large, or when they say so."""

from __future__ import annotations

import contextlib
import hmac
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unlearn_core.errors import LetheError
from unlearn_core.limits import KEPT_BYTES, KEPT_DAYS
from unlearn_core.runs.log import LOGGER
from unlearn_core.runs.store import OPEN, OWNER, RunStore, owner_hash
from unlearn_core.runs.worker import Worker

_DAY = 86_400
_EVERY = 600  # seconds between two looks


@dataclass(frozen=True)
class Gone:
    """How much was deleted."""

    runs: int = 0
    uploads: int = 0


@dataclass(frozen=True)
class _Thing:
    """A run that is over, or an upload."""

    name: str
    made: float
    size: int
    is_run: bool


def expire(
    store: RunStore, now: float | None = None, days: float = KEPT_DAYS, most: int = KEPT_BYTES
) -> Gone:
    """Delete what is older than `days`, then the oldest until all that is left takes at most `most` bytes."""
    now = time.time() if now is None else now
    things = sorted(_things(store), key=lambda thing: thing.made)
    total, doomed = sum(thing.size for thing in things), []
    for thing in things:
        if now - thing.made > days * _DAY or total > most:
            doomed.append(thing)
            total -= thing.size
    return _delete(store, doomed)


def delete_everything_of(owner: str, store: RunStore, worker: Worker) -> Gone:
    """Stop and delete the runs of whoever knows the secret `owner`, and delete their uploads."""
    if not owner:
        return Gone()
    records = store.list_runs(owner=owner, limit=1_000_000)
    for record in records:
        worker.cancel_audits(record.id, owner)
        worker.cancel(record.id, owner)
    for record in records:
        worker.wait_audits(record.id, 30)
        worker.wait(record.id, 30)
    mine = {record.id for record in records}
    hashed = owner_hash(owner)
    uploads = [folder for folder in store.uploads.iterdir() if _is_of(folder, hashed)]
    runs = [_Thing(run_id, 0.0, 0, True) for run_id in mine]
    return _delete(store, [*runs, *(_Thing(folder.name, 0.0, 0, False) for folder in uploads)])


class Keeper:
    """A thread that lets things expire for as long as the server runs."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lethe-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(10)

    def _keep(self) -> None:
        while True:
            try:
                expire(self.store)
            except Exception:
                LOGGER.exception("what is old could not be deleted")
            if self._over.wait(_EVERY):
                return


def _things(store: RunStore) -> Iterator[_Thing]:
    for record in store.list_runs(limit=1_000_000):
        if record.status not in OPEN:
            yield _Thing(record.id, record.created, _size(store.folder(record.id)), True)
    for folder in store.uploads.iterdir():
        with contextlib.suppress(OSError):
            yield _Thing(folder.name, folder.stat().st_mtime, _size(folder), False)


def _delete(store: RunStore, things: list[_Thing]) -> Gone:
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
    return Gone(runs, uploads)


def _is_of(folder: Path, hashed: str) -> bool:
    try:
        return hmac.compare_digest((folder / OWNER).read_text(encoding="ascii"), hashed)
    except (OSError, ValueError):
        return False


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size
    return total
