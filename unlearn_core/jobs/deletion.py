"""Deleting everything of a visitor: at once what is over, and what is under way as soon as it has stopped.

Whoever asks never waits for a run to stop: on a busy server the threads that answer are few.
"""

from __future__ import annotations

import contextlib
import queue
import threading

from unlearn_core.errors import LetheError
from unlearn_core.jobs.expiry import Deleted
from unlearn_core.jobs.worker import Worker
from unlearn_core.store import uploads
from unlearn_core.store.store import RunStore, owner_hash
from unlearn_core.system.log import LOGGER

_STOPPING = 600.0  # seconds that a run may take to stop; then it is deleted when the next server starts


class Deleter:
    """One thread that waits for runs to stop. One deletion at a time for each owner."""

    def __init__(self, store: RunStore, worker: Worker) -> None:
        self._store, self._worker = store, worker
        self._stopping: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._owners: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def delete(self, owner: str) -> Deleted:
        """Stop and delete the runs of whoever knows the secret `owner`, and their uploads. What is still
        stopping counts as gone: it is nobody's from here on. Asked again meanwhile, there is nothing left to do."""
        hashed = owner_hash(owner)
        with self._lock:
            if not owner or hashed in self._owners:
                return Deleted()
            self._owners.add(hashed)
        try:
            return self._delete(owner, hashed)
        finally:
            with self._lock:
                self._owners.discard(hashed)

    def close(self) -> None:
        """Wait for nothing more."""
        self._stopping.put(None)

    def _delete(self, owner: str, hashed: str) -> Deleted:
        runs = 0
        for record in self._store.list_runs(owner=owner, limit=1_000_000):
            with contextlib.suppress(LetheError):  # deleted meanwhile
                self._delete_run(record.id, owner)
                runs += 1
        mine = [folder for folder in self._store.uploads.iterdir() if uploads.is_of(folder, hashed)]
        for folder in mine:
            self._store.drop_upload(folder.name)
        if runs:
            self._store.forget_deleted()
        return Deleted(runs, len(mine))

    def _delete_run(self, run_id: str, owner: str) -> None:
        with contextlib.suppress(LetheError):  # a damaged one is at work nowhere
            self._worker.cancel_audits(run_id, owner)
            self._worker.cancel(run_id, owner)
        if self._worker.position(run_id) is None and self._worker.audits_position(run_id) is None:
            self._store.delete(run_id, owner)
            return
        self._store.doom(run_id)
        self._stopping.put(run_id)
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="lethe-deleter", daemon=True)
                self._thread.start()

    def _wait(self) -> None:
        while (run_id := self._stopping.get()) is not None:
            try:
                if self._worker.wait_audits(run_id, _STOPPING) and self._worker.wait(run_id, _STOPPING):
                    self._store.delete(run_id, operator=True)
                    self._store.forget_deleted()
            except LetheError:  # another process still writes to it, or it went meanwhile
                continue
            except Exception:
                LOGGER.exception("a run could not be deleted")
