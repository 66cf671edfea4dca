"""Carries out one job at a time, in this process or in one of its own, and sees that it gets an end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import TypeVar

from unlearn_core.errors import ResourceError
from unlearn_core.jobs.child_process import ChildProcess, ProcessEnded
from unlearn_core.jobs.job import AuditRequest, Job, RelearnRequest, audits_of
from unlearn_core.jobs.pending_ends import PendingEnds
from unlearn_core.limits import RUN_SECONDS
from unlearn_core.runs.events import TERMINAL, Cancelled, Event, Failed, Warned
from unlearn_core.runs.failure import failed
from unlearn_core.store.game.relearned import relearned
from unlearn_core.store.store import RunStore

Runner = Callable[..., Generator[Event]]
Value = TypeVar("Value")

SHUT_DOWN = "Lethe was shut down while this run was under way. Resume it to get its result."
_AUDITS_SHUT_DOWN = "Lethe was shut down while these audits were under way. Start them again."
_TIME_USED_UP = f"The {RUN_SECONDS} s of a run here are used up: its training ends now and is scored."
_ENDED = (
    "The process that carried out this run was ended from outside, as happens where memory runs out. "
    "Resume the run, or start it with a smaller batch_size."
)


class Executor:
    """runner: what carries out a spec (None: `runs.run.run`). apart: the process that does the work, None
    for this one. public: hold runs to the time that strangers have."""

    def __init__(
        self, store: RunStore, ends: PendingEnds, runner: Runner | None, apart: ChildProcess | None, public: bool
    ) -> None:
        self._store, self._ends, self._public = store, ends, public
        self.runner, self.apart = runner, apart

    def carry_out(self, job: Job) -> None:
        """Drive one job to its end; whatever happens, an end is recorded and the thread lives on."""
        if job.audits is not None:
            self._audit(job, job.audits)
            return
        if job.relearn is not None:
            self._relearn(job, job.relearn)
            return
        began = time.monotonic()
        try:
            with contextlib.closing(self._events(job)) as events:
                for event in events:
                    if job.given_up:
                        return
                    job.sign = time.monotonic()
                    job.over = isinstance(event, TERMINAL)  # before anybody can read of its end
                    job.step = self._store.append(job.id, event).step
                    job.heed(event)
                    if job.over:
                        return
                    if self._public:
                        self._limit(job, time.monotonic() - began)
                    if job.control.cancelled:
                        break
                else:
                    raise RuntimeError("the run ended without a last event")
            stopped = Failed(SHUT_DOWN, kind="interrupted") if job.interrupted else Cancelled(job.step)
            end: Event = job.end or stopped
        except ProcessEnded:
            end = job.end or Failed(SHUT_DOWN if job.interrupted else _ENDED, kind="interrupted")
        except BaseException as error:
            end = failed(error)
        if not job.given_up:
            self._ends.note(job, end)

    def iterate(self, function: Callable[..., Generator[Value]], *given: object, **named: object) -> Generator[Value]:
        """Call the function where the work is done."""
        return (function if self.apart is None else partial(self.apart.iterate, function))(*given, **named)

    def _events(self, job: Job) -> Generator[Event]:
        runner = self.runner
        if runner is None:
            from unlearn_core.runs.run import run

            runner = run
        return self.iterate(
            runner,
            job.spec,
            home=self._store.home,
            out=self._store.folder(job.id),
            control=job.control,
            public=self._public,
            checkpoints=self._store.checkpoints(job.id),
        )

    def _limit(self, job: Job, seconds: float) -> None:
        """Hold a stranger's run to its time: first its training ends and is scored, then all of it ends."""
        if seconds > 2 * RUN_SECONDS:
            mend = "Use fewer rows or fewer steps, or your own installation."
            raise ResourceError("run", f"{seconds:.0f} s", "takes longer than a run may here", mend)
        if seconds > RUN_SECONDS and not job.control.finishing:
            job.control.finish_early()
            self._store.append(job.id, Warned(_TIME_USED_UP))

    def _audit(self, job: Job, wanted: AuditRequest) -> None:
        """Drive the audits of a run to their end; they write themselves down."""
        audits = self.iterate(
            audits_of,
            wanted.run_id,
            self._store.home,
            wanted.budget_seconds,
            audits=wanted.names,
            public=self._public,
        )
        try:
            with contextlib.closing(audits) as events:
                for event in events:
                    job.sign = time.monotonic()
                    job.heed(event)
                    if job.interrupted or job.control.cancelled:
                        break
        except BaseException as error:
            failed(error)  # recorded already; this is for the log
            return
        if job.interrupted:
            self._ends.note(job, Failed(_AUDITS_SHUT_DOWN, kind="interrupted"))

    def _relearn(self, job: Job, wanted: RelearnRequest) -> None:
        """Drive the relearning of a secret to its end; what came of it stays on the job, for whoever waits."""
        try:
            steps = self.iterate(relearned, wanted.run_id, self._store.home, wanted.secret, public=self._public)
            with contextlib.closing(steps) as events:
                for job.relearned in events:
                    job.sign = time.monotonic()
                    if job.interrupted or job.control.cancelled:
                        break
        except BaseException as error:
            job.failure = failed(error).message
