"""What audits found, kept in the run's folder as `audits.json`: replaced whole, read by page and report.

A reload, a second viewer and a restart see the same. Earlier results stay until the same audit is done
again on the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.runs.events import Cancelled, Failed
from unlearn_core.runs.failure import failed
from unlearn_core.store.audits import (
    BUDGET,
    AuditDone,
    AuditEvent,
    AuditProgress,
    AuditsFinished,
    AuditSkipped,
    AuditsPlanned,
    check_budget,
    run_audits,
)
from unlearn_core.store.game.finds import played
from unlearn_core.store.store import RunStore
from unlearn_core.store.verdicts import rejudge
from unlearn_core.system.files import is_alive, read_json, this_process, write_json

if TYPE_CHECKING:
    from unlearn_core.evaluation.audits.base import AuditJson

FILE = "audits.json"
OPEN = ("queued", "running")


@dataclass(frozen=True)
class AuditRecord:
    """What audits.json holds. status: queued, running, finished, cancelled, failed, interrupted.

    `planned` maps audits to estimated seconds, `skipped` to why they were left out; `results` are
    AuditResults as JSON, by name. `at` and `fraction` say where the audits under way are.
    """

    status: str = "queued"
    created: float = 0.0
    budget_seconds: float | None = None
    process: Mapping[str, object] = field(default_factory=dict)
    weights_hash: str = ""
    planned: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    results: dict[str, AuditJson] = field(default_factory=dict)
    done: tuple[str, ...] = ()  # of the planned
    at: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    seconds: float = 0.0
    message: str = ""
    version: int = 1

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> AuditRecord:
        known = {f.name for f in fields(cls)}
        found = cls(**{key: value for key, value in record.items() if key in known})
        return replace(found, done=tuple(found.done))

    def after(self, event: AuditEvent) -> AuditRecord:
        """The record once `event` has happened."""
        if isinstance(event, AuditsPlanned):
            same = event.weights_hash == self.weights_hash
            return replace(
                self,
                status="running",
                planned=event.audits,
                skipped=event.skipped,
                weights_hash=event.weights_hash,
                results=self.results if same else {},
            )
        if isinstance(event, AuditProgress):
            return replace(self, at=event.name, fraction=event.fraction, seconds_left=max(0.0, event.seconds_left))
        if isinstance(event, AuditDone):
            name = event.result.name
            results = {**self.results, name: event.result.to_json()}
            return replace(self, results=results, done=(*self.done, name), fraction=1.0)
        if isinstance(event, AuditSkipped):
            return replace(self, skipped={**self.skipped, event.name: event.reason})
        status = {AuditsFinished: "finished", Cancelled: "cancelled"}.get(type(event), "failed")
        message = ""
        if isinstance(event, Failed):
            status, message = ("interrupted" if event.kind == "interrupted" else "failed"), event.message
        seconds = event.seconds if isinstance(event, AuditsFinished) else time.time() - self.created
        return replace(self, status=status, message=message, seconds=seconds, at="", seconds_left=None)


def read_audits(store: RunStore, run_id: str) -> AuditRecord | None:
    """The record of a run's audits with what players found, None where there is neither; InputError for what is not
    a run id.

    Audits whose process died read as interrupted.
    """
    record = _recorded(store.folder(run_id))
    found = played(store.folder(run_id), record.weights_hash if record is not None else "")
    if found is not None:
        record = record or AuditRecord(status="finished")
        record = replace(record, results={**record.results, str(found["name"]): found})
    if record is None:
        return None
    if record.status in OPEN and not is_alive(record.process, record.created, store.home):
        return replace(record, status="interrupted", message="Lethe stopped while these audits were under way.")
    return record


def _recorded(folder: Path) -> AuditRecord | None:
    """What audits.json holds, None where it is not there or cannot be read."""
    try:
        found = AuditRecord.from_json(read_json(folder / FILE))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if isinstance(found.results, dict) else None


def write_audits(store: RunStore, run_id: str, record: AuditRecord) -> None:
    """Replace the record; a reader sees the old one or the new one."""
    write_json(store.folder(run_id) / FILE, asdict(record))


def check_audits(budget_seconds: float | None, names: Sequence[str] | None) -> None:
    """InputError for audits that cannot be: an unknown name, a budget out of range."""
    from unlearn_core.evaluation.audits import choose

    check_budget(budget_seconds)
    choose(names)


def queue_audits(store: RunStore, run_id: str, budget_seconds: float | None) -> AuditRecord:
    """Record that audits of a run are wanted; what was found before stays."""
    earlier = read_audits(store, run_id) or AuditRecord()
    record = AuditRecord(
        created=time.time(),
        budget_seconds=budget_seconds,
        process=this_process(store.home),
        weights_hash=earlier.weights_hash,
        results=earlier.results,
    )
    write_audits(store, run_id, record)
    return record


def end_audits(store: RunStore, run_id: str, event: Any) -> None:
    """Record an end (Failed, Cancelled) from outside the audits."""
    write_audits(store, run_id, (read_audits(store, run_id) or AuditRecord()).after(event))


def record_audits(
    run_id: str,
    store: RunStore,
    budget_seconds: float | None = BUDGET,
    *,
    audits: Sequence[str] | None = None,
    public: bool = False,
) -> Generator[AuditEvent]:
    """`run_audits`, with every event written down before it is yielded, and the run judged anew at the end.
    Closing it, or Ctrl-C, is recorded as a cancellation; what was found until then counts."""
    record = queue_audits(store, run_id, budget_seconds)
    events = run_audits(run_id, budget_seconds, audits=audits, home=store.home, public=public)
    try:
        for event in events:
            record = record.after(event)
            write_audits(store, run_id, record)
            if record.status not in OPEN and record.results:
                rejudge(store, run_id, list(record.results.values()), record.weights_hash)
            yield event
    except BaseException as error:
        if record.status in OPEN:
            stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
            write_audits(store, run_id, record.after(Cancelled() if stopped else failed(error)))
            if record.results:
                rejudge(store, run_id, list(record.results.values()), record.weights_hash)
        raise
