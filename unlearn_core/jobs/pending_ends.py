"""Ends of runs and audits on their way to the store: one that a full disk refuses waits, and is not lost."""

from __future__ import annotations

import contextlib
import threading
from collections import deque

from unlearn_core.errors import LetheError, ResourceError
from unlearn_core.jobs.job import Job
from unlearn_core.runs.events import Event
from unlearn_core.store.audit_record import end_audits
from unlearn_core.store.store import RunStore
from unlearn_core.system.log import LOGGER, short


class PendingEnds:
    """Written down in the order they came; safe to use from any thread."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self._waiting: deque[tuple[str, Event]] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Runs that are over and could not be marked so yet."""
        return len(self._waiting)

    def of(self, run_id: str) -> Event | None:
        """The end of a run that could not be written down yet."""
        return next((end for known, end in list(self._waiting) if known == run_id), None)

    def note(self, job: Job, end: Event) -> None:
        """Write down how a job ended, or keep it until that is possible; of a relearned secret nothing is."""
        if job.relearn is not None:
            return
        if job.audits is not None:
            with contextlib.suppress(LetheError):
                end_audits(self._store, job.audits.run_id, end)
            return
        with self._lock:
            self._waiting.append((job.id, end))
        self.write()

    def write(self) -> None:
        """Write down the ends that wait, as far as that is possible now."""
        with self._lock:
            while self._waiting:
                run_id, end = self._waiting[0]
                facts = {"facts": {"run": short(run_id)}}
                try:
                    self._store.append(run_id, end)
                except ResourceError:
                    LOGGER.exception("the end of a run could not be recorded yet", extra=facts)
                    return
                except Exception:  # the run was deleted meanwhile
                    LOGGER.exception("the end of a run could not be recorded", extra=facts)
                self._waiting.popleft()
