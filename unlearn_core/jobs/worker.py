"""One background thread that carries out runs and their audits, one at a time, in the order they came.

A page only reads: the job lives here, so closing a tab or losing a connection changes nothing. The
worker writes to the store and never waits for a reader.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Sequence

from unlearn_core.data.types import Example
from unlearn_core.errors import InputError, LetheError, ResourceError, too_long
from unlearn_core.jobs.child_process import ChildProcess, ProcessEnded
from unlearn_core.jobs.executor import SHUT_DOWN, Executor, Runner
from unlearn_core.jobs.job import AuditRequest, Job, RelearnRequest
from unlearn_core.jobs.pending_ends import PendingEnds
from unlearn_core.jobs.watchdog import Watchdog
from unlearn_core.limits import FILE_BYTES, OWNER_CHARACTERS, SECRET_CHARACTERS, STEPS
from unlearn_core.runs.events import Cancelled, Failed
from unlearn_core.runs.failure import failed
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.audit_record import check_audits, queue_audits
from unlearn_core.store.store import RunStore, owner_hash
from unlearn_core.store.table.durations import usual_seconds
from unlearn_core.system.log import log_to, note

GRACE = 6.0  # seconds for the run at work to keep where it stands, when whoever ends Lethe kills after ten
_BEGINNING = 120.0  # seconds that a process has for its imports on a busy machine, before it counts as silent
_MAX_KEYS = 1_000
_AUDITS = "audits of "  # before a run's id: the id of the job that audits it
_RELEARNING = "relearning of "  # the same of the job that relearns a secret of it
_RESUME = "Nothing that was kept is lost. Resume it to get its result."


class Worker:
    """Submit, cancel and wait for runs; safe to call from any thread.

    capacity: runs that may wait. per_owner: runs one owner may have waiting or running, None for no
    limit. public: refuse local paths and Hub ids. runner, apart: see `Executor`. lent: the runner first waits
    for a device.
    """

    def __init__(
        self,
        store: RunStore,
        *,
        capacity: int = 16,
        per_owner: int | None = None,
        public: bool = False,
        runner: Runner | None = None,
        apart: ChildProcess | None = None,
        lent: bool = False,
    ) -> None:
        self.store, self.capacity, self.per_owner, self.public = store, capacity, per_owner, public
        self._apart, self._lent = apart, lent
        self.ends = PendingEnds(store)
        self.carrier = Executor(store, self.ends, runner, apart, public)
        self._waiting: deque[Job] = deque()
        self._running: Job | None = None
        self._keys: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._hands = threading.Lock()  # held by what is done while there is no run
        self._wake = threading.Condition()
        self._closed = False
        log_to(store.home, words=not public)
        store.recover()
        self._begin()
        self._watchdog = Watchdog(self)
        self._watchdog.start()
        atexit.register(self.close)  # a server that is told to end leaves no run behind as running

    def submit(self, spec: RunSpec, owner: str | None = None, key: str | None = None) -> str:
        """Queue a run and return its id. The same `key` from the same owner gives the same run.

        Raises InputError for a spec that cannot work, ResourceError when the queue is full.
        """
        self._check(spec)
        if self.public and len(owner or "") < OWNER_CHARACTERS:
            mend = f"Choose {OWNER_CHARACTERS} or more random characters; they let you stop the run."
            raise InputError("owner", "", "is missing or too short to be a secret", mend)
        for field, given in (("owner", owner), ("key", key)):
            if len(given or "") > SECRET_CHARACTERS:
                raise too_long(field, given or "", SECRET_CHARACTERS)
        usual = usual_seconds(self.store, spec)
        with self._wake:
            known = self.submitted(owner, key)
            if known is not None:
                return known
            self._admit(owner)
            record = self.store.create(spec, owner)
            self._waiting.append(Job(record.id, spec, owner_hash(owner), usual=usual))
            if key:
                self._keys[owner_hash(owner), key] = record.id
                while len(self._keys) > _MAX_KEYS:
                    self._keys.popitem(last=False)
            self._wake.notify_all()
            return record.id

    def submitted(self, owner: str | None, key: str | None) -> str | None:
        """The run that this owner submitted with this key of late, None for none."""
        return self._keys.get((owner_hash(owner), key)) if key else None

    def submit_audits(
        self,
        run_id: str,
        budget_seconds: float | None,
        names: Sequence[str] | None = None,
        owner: str | None = None,
    ) -> None:
        """Queue audits of a run that has weights, for its owner. InputError if they are queued already."""
        check_audits(budget_seconds, names)
        record = self.store.owned(run_id, owner)
        self.store.weights(run_id)
        wanted = AuditRequest(run_id, budget_seconds, None if names is None else tuple(names))
        spec = RunSpec.from_json(record.spec)
        job = Job(_AUDITS + run_id, spec, owner_hash(owner), audits=wanted, usual=budget_seconds)
        with self._wake:
            if self._find(job.id) is not None:
                raise InputError("run", run_id, "is being audited", "Wait for it or stop it.")
            self._admit(owner)
            queue_audits(self.store, run_id, budget_seconds)
            self._waiting.append(job)
            self._wake.notify_all()

    def submit_relearning(self, run_id: str, secret: Example, owner: str | None = None) -> Job:
        """Queue the relearning of a secret of a run, for its owner; the job, whose `relearned` grows. InputError if
        one is queued already."""
        record = self.store.owned(run_id, owner)
        self.store.weights(run_id)
        spec, wanted = RunSpec.from_json(record.spec), RelearnRequest(run_id, secret)
        job = Job(_RELEARNING + run_id, spec, owner_hash(owner), relearn=wanted)
        with self._wake:
            if self._find(job.id) is not None:
                raise InputError("run", run_id, "is being taught again", "Wait until that is over.")
            self._admit(owner)
            self._waiting.append(job)
            self._wake.notify_all()
        return job

    def cancel_relearning(self, job: Job) -> None:
        """Stop it, for whoever was given it; nothing happens where it is over."""
        with self._wake:
            if self._find(job.id) is job:
                self._stop(job.id)

    def cancel_audits(self, run_id: str, owner: str | None = None) -> None:
        """Stop the audits of a run for its owner; what they found so far stays."""
        self.store.owned(run_id, owner)
        self._stop(_AUDITS + run_id)

    def wait_audits(self, run_id: str, timeout: float | None = None) -> bool:
        """`wait` for the audits of a run."""
        return self.wait(_AUDITS + run_id, timeout)

    def audits_position(self, run_id: str) -> int | None:
        """`position` of the audits of a run."""
        return self.position(_AUDITS + run_id)

    def resume(self, run_id: str, owner: str | None = None) -> None:
        """Queue an interrupted run of this owner again; it goes on from its last checkpoint."""
        record = self.store.owned(run_id, owner)
        usual = usual_seconds(self.store, RunSpec.from_json(record.spec))
        with self._wake:
            if self._find(run_id) is not None:
                return
            self._admit(owner)
            spec = RunSpec.from_json(self.store.reopen(run_id).spec)
            self._waiting.append(Job(run_id, spec, record.owner, usual=usual))
            self._wake.notify_all()

    def cancel(self, run_id: str, owner: str | None = None) -> None:
        """Stop a run for its owner; returns at once, the run ends at its next event."""
        self.store.owned(run_id, owner)
        self._stop(run_id)

    def _stop(self, job_id: str) -> None:
        with self._wake:
            job = self._find(job_id)
            if job is None:
                return
            job.control.cancel()
            if job is not self._running:
                self._waiting.remove(job)
                self.ends.note(job, Cancelled())
            self._wake.notify_all()

    def finish_early(self, run_id: str, owner: str | None = None, best: bool = False) -> None:
        """End the training of a run now, keep its weights and go on to the scores; with `best` those of the
        step that did best so far."""
        self.store.owned(run_id, owner)
        with self._wake:
            job = self._find(run_id)
            if job is not None:
                (job.control.keep_best if best else job.control.finish_early)()

    def position(self, run_id: str) -> int | None:
        """0 while running, 1 for the next in the queue, and so on; None when it is not here."""
        with self._wake:
            if self._running is not None and self._running.id == run_id:
                return 0
            return next((place for place, job in enumerate(self._waiting, 1) if job.id == run_id), None)

    def seconds_until(self, run_id: str) -> float | None:
        """How long a waiting run still waits, by what those ahead of it say or usually take; None where that
        is not known or it does not wait."""
        with self._wake:
            waiting = [job.id for job in self._waiting]
            if run_id not in waiting:
                return None
            behind = len(waiting) - waiting.index(run_id)
            left = [job.seconds_left for job in self._jobs[:-behind]]
        known = [seconds for seconds in left if seconds is not None]
        return sum(known) if len(known) == len(left) else None

    @property
    def current(self) -> str | None:
        """The id of the run under way."""
        job = self._running
        return job.id if job is not None else None

    def wait(self, run_id: str, timeout: float | None = None) -> bool:
        """Block until a run is over; False when `timeout` seconds passed first."""
        with self._wake:
            return self._wake.wait_for(lambda: self._find(run_id) is None, timeout)

    def warm_up(self) -> None:
        """Begin with what the first run would have to wait for."""
        if self._apart is not None:
            self._apart.start()

    def meanwhile(self, function: Callable[..., Generator[object]], *given: object) -> None:
        """Carry out what `function` yields until there is a run to carry out."""
        work = self.carrier.iterate(function, *given)
        with self._hands, contextlib.suppress(ProcessEnded), contextlib.closing(work):
            for _ in work:
                if self._running is not None or self._closed:
                    return

    def close(self, timeout: float = GRACE) -> None:
        """Take no more runs, end the current one as interrupted, and wait for the thread.

        The run has `timeout` seconds to come to the end of its step and keep where it stands; a process of
        its own is then ended, and the run can be resumed from its last checkpoint.
        """
        with self._wake:
            self._closed = True
            waiting, self._waiting = list(self._waiting), deque()
            if self._running is not None:
                self._running.interrupted = True
                self._running.control.pause()
            self._wake.notify_all()
        self._watchdog.close()
        for job in waiting:
            self.ends.note(job, Failed(SHUT_DOWN, kind="interrupted"))
        self._thread.join(timeout)
        if self._apart is not None:
            self._apart.close()
            self._thread.join(1.0)  # it now writes down that the run was interrupted
        atexit.unregister(self.close)

    # How it fares --------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether there is a thread that carries out runs."""
        return self._thread.is_alive() or self._closed

    @property
    def silent(self) -> float:
        """Seconds since the last event of the run or audit at work; 0 without one."""
        job = self._running
        return max(0.0, time.monotonic() - job.sign) if job is not None and job.sign else 0.0

    @property
    def seconds(self) -> float | None:
        """How long the present run or audit has been at work."""
        job = self._running
        return time.monotonic() - job.began if job is not None and job.began is not None else None

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def replace(self, reason: str) -> None:
        """Go on with the next run: the one at work is marked interrupted, whatever it still does."""
        end = Failed(f"{reason}. {_RESUME}", kind="interrupted")
        with self._wake:
            job = self._running
            if self._closed:
                return
            if job is not None and self._apart is not None and self._thread.is_alive():
                job.end = end
                self._apart.close()  # its process can be ended, and the thread that waits for it goes on
                return
            self._running = None
            if job is not None:
                job.given_up = True
                job.control.cancel()
        note("worker replaced", level=logging.ERROR, run=job.id if job else "")
        if job is not None:
            self.ends.note(job, end)  # before the next run begins, which may be over at once
        with self._wake:
            if not self._closed:
                self._begin()
                self._wake.notify_all()

    def end(self, error: LetheError) -> None:
        """End the run at work with this error, at its next event."""
        with self._wake:
            if self._running is not None:
                self._running.end = failed(error)
                self._running.control.cancel()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._serve, name="lethe-worker", daemon=True)
        self._thread.start()

    def _check(self, spec: RunSpec) -> None:
        """Refuse at once what would fail anyway, so that the form can say so."""
        from unlearn_core.methods import build
        from unlearn_core.models.catalogue import locate, offered

        method = build(spec.method, spec.settings, spec.steps)
        if self.public and spec.target not in [info.name for info in offered(public=True)]:
            raise InputError("target", spec.target, "is not offered here", "Use `demo`.", ("target", "demo"))
        locate(spec.target, self.public)
        if self.public and spec.retain_model is not None:
            raise InputError(
                "retain_model", spec.retain_model, "is not offered here", "Leave it out.", ("retain_model", "")
            )
        if self.public and method.steps > STEPS:
            raise InputError("steps", method.steps, "are too many here", f"Use at most {STEPS}.", ("steps", str(STEPS)))
        size = len(json.dumps(spec.to_json(), default=str))
        if self.public and size > 2 * FILE_BYTES:
            raise InputError(
                "run", f"{size:,} characters", "is too much text for a run", "Upload a file.", ("tab", "data")
            )

    def _admit(self, owner: str | None) -> None:
        if self._closed:
            raise ResourceError("queue", "", "is closed", "Lethe is shutting down; try again in a minute.")
        if len(self._waiting) >= self.capacity:
            waiting = f"{len(self._waiting)} runs are waiting"
            raise ResourceError("queue", waiting, "is full", "Try again when some of them are over.")
        if self.per_owner is None or not owner:
            return
        if sum(job.owner == owner_hash(owner) and not job.over for job in self._jobs) >= self.per_owner:
            raise InputError("run", self.per_owner, "of yours is under way", "Wait for it or stop it.", ("tab", "runs"))

    @property
    def _jobs(self) -> list[Job]:
        """The job at work and those that wait, in their order."""
        return [*([self._running] if self._running else []), *self._waiting]

    def _find(self, run_id: str) -> Job | None:
        return next((job for job in self._jobs if job.id == run_id), None)

    def _serve(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closed)
                if self._closed or threading.current_thread() is not self._thread:
                    return
                job = self._running = self._waiting.popleft()
                job.began = time.monotonic()
                # Nobody knows when a lent device will come; a process of its own first has much to import.
                job.sign = 0.0 if self._lent else job.began + (_BEGINNING if self._apart else 0.0)
            with self._hands:  # what was done meanwhile ends first
                pass
            job.context.run(self.carrier.carry_out, job)  # what escapes it ends the thread; the watchdog sees it
            with self._wake:
                if job.given_up:
                    return
                self._running = None
                self._wake.notify_all()
