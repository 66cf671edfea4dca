"""Audits of a stored run: their events go into its log, and are part of what it has come to.

A reload, a second viewer and a restart see the same. Earlier results stay until the same audit is done
again on the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from unlearn_core.runs.audit_record import OPEN, AuditRecord
from unlearn_core.runs.events import AuditsQueued, AuditsStopped, Cancelled, Event, Failed
from unlearn_core.runs.failure import failed
from unlearn_core.runs.state import RunState
from unlearn_core.store.audits import BUDGET, AuditEvent, check_budget, run_audits
from unlearn_core.store.game.finds import played
from unlearn_core.store.store import RunStore
from unlearn_core.store.verdicts import rejudge
from unlearn_core.system.files import is_alive, mend_torn_line, this_process


def read_audits(store: RunStore, run_id: str, state: RunState | None = None) -> AuditRecord | None:
    """What audits of a run have come to, with what players found, None where there is neither; InputError for what is
    not a run id. state: the run's, where somebody has it.

    Audits whose process died read as interrupted.
    """
    record = (state or store.state(run_id)).audits
    found = played(store.folder(run_id), record.weights_hash if record is not None else "")
    if found is not None:
        record = record or AuditRecord(status="finished")
        record = replace(record, results={**record.results, str(found["name"]): found})
    if record is None:
        return None
    if record.status in OPEN and not is_alive(record.process, record.created, store.home):
        return replace(record, status="interrupted", message="Lethe stopped while these audits were under way.")
    return record


def check_audits(budget_seconds: float | None, names: Sequence[str] | None) -> None:
    """InputError for audits that cannot be: an unknown name, a budget out of range."""
    from unlearn_core.evaluation.audits import choose

    check_budget(budget_seconds)
    choose(names)


def queue_audits(store: RunStore, run_id: str, budget_seconds: float | None) -> None:
    """Record that audits of a run are wanted; what was found before stays."""
    mend_torn_line(store.folder(run_id) / "events.jsonl")  # earlier ones may have been killed
    store.append(run_id, AuditsQueued(time.time(), budget_seconds, {**this_process(store.home)}))


def end_audits(store: RunStore, run_id: str, event: Event) -> RunState:
    """Record an end (Failed, Cancelled) that audits of a run did not come to by themselves."""
    audits = store.state(run_id).audits
    seconds = time.time() - audits.created if audits is not None else 0.0
    if isinstance(event, Failed):
        status = "interrupted" if event.kind == "interrupted" else "failed"
        return store.append(run_id, AuditsStopped(status, event.message, seconds))
    return store.append(run_id, AuditsStopped("cancelled", "", seconds))


def record_audits(
    run_id: str,
    store: RunStore,
    budget_seconds: float | None = BUDGET,
    *,
    audits: Sequence[str] | None = None,
    public: bool = False,
) -> Generator[AuditEvent]:
    """`run_audits`, with every event appended to the run's before it is yielded, and the run judged anew at the end.
    Closing it, or Ctrl-C, is recorded as a cancellation; what was found until then counts."""
    queue_audits(store, run_id, budget_seconds)
    events = run_audits(run_id, budget_seconds, audits=audits, home=store.home, public=public)
    over = False
    try:
        for event in events:
            if isinstance(event, Failed | Cancelled):
                over = _judged(store, run_id, end_audits(store, run_id, event))
            else:
                over = _judged(store, run_id, store.append(run_id, event))
            yield event
    except BaseException as error:
        if not over:
            stopped = isinstance(error, GeneratorExit | KeyboardInterrupt)
            _judged(store, run_id, end_audits(store, run_id, Cancelled() if stopped else failed(error)))
        raise


def _judged(store: RunStore, run_id: str, state: RunState) -> bool:
    """Whether the audits are over; the run is then judged anew, if they found anything."""
    audits = state.audits
    if audits is None or audits.status in OPEN:
        return False
    if audits.results:
        rejudge(store, run_id, list(audits.results.values()), audits.weights_hash)
    return True
