"""Audits as an iterator of events, like a run.

    for event in run_audits("RUN_ID", budget_seconds=60): ...

Whatever fits the time budget is done, in the registry's order; what does not is named with its estimate.
Closing the iterator cancels and leaves every model as it was.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.errors import InputError, IntegrityError, LetheError
from unlearn_core.evaluation.progress import ResultIterator
from unlearn_core.evaluation.protocols.references.reference import is_stored
from unlearn_core.runs.data import load_for
from unlearn_core.runs.events import (
    AuditDone,
    AuditProgress,
    AuditsFinished,
    AuditSkipped,
    AuditsPlanned,
    Cancelled,
    Failed,
)
from unlearn_core.runs.failure import failed
from unlearn_core.runs.run import WEIGHTS
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system.machine.memory import release_memory

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.evaluation.audits import Audit, AuditCase, AuditResult

BUDGET = 90.0  # seconds; enough for all audits of the bundled model on two cores
MAX_BUDGET = 86_400.0
_EVERY = 0.25  # seconds between progress events


AuditEvent = AuditsPlanned | AuditProgress | AuditDone | AuditSkipped | AuditsFinished | Failed | Cancelled


def run_audits(
    run: str | Path,
    budget_seconds: float | None = BUDGET,
    *,
    audits: Sequence[str] | None = None,
    home: str | Path | None = None,
    target: str | None = None,
    data: str | None = None,
    public: bool = False,
) -> Generator[AuditEvent]:
    """Audit a run of the store, or a folder of weights, and yield what happens; the last event is
    AuditsFinished or Failed.

    audits: names, None for all. budget_seconds: None for no limit. target, data: what the weights were made
    from, for a folder that does not say (default: demo). Nothing is written; see `store.audit_record`.
    """
    end: Failed | None = None
    opened: AuditCase | None = None
    try:
        check_budget(budget_seconds)
        from unlearn_core.evaluation.audits import choose

        chosen = choose(audits)
        opened = open_case(run, home=home, target=target, data=data, public=public)
        yield from audit_case(opened, chosen, budget_seconds)
    except Exception as error:
        end = failed(error)
        traceback.clear_frames(error.__traceback__)  # they hold the models
    finally:
        opened = None
        release_memory()
    if end is not None:
        yield end


def audit_case(case: AuditCase, audits: Sequence[Audit], budget_seconds: float | None = None) -> Generator[AuditEvent]:
    """Carry out `audits` on models at hand. An audit that fails ends with its reason; the others go on."""
    from unlearn_core.models.hashing import weights_hash

    began = time.perf_counter()
    plan = _Plan(case, audits, budget_seconds)
    digest = case.weights_hash or weights_hash(case.model)
    yield AuditsPlanned(dict(plan.estimates), dict(plan.skipped), budget_seconds, digest)
    for audit in audits:
        name = audit.info.name
        if name not in plan.estimates:
            continue
        reason = plan.too_late(name, time.perf_counter() - began)
        if reason is not None:
            yield AuditSkipped(name, reason)
            continue
        started = time.perf_counter()
        result = yield from _one(case, audit, plan)
        plan.took(name, time.perf_counter() - started)
        yield AuditDone(result)
    yield AuditsFinished(time.perf_counter() - began)


def _one(case: AuditCase, audit: Audit, plan: _Plan) -> Generator[AuditProgress, None, AuditResult]:
    """Progress of one audit as events; returns its result."""
    from unlearn_core.evaluation.audits import AuditResult

    name, shown = audit.info.name, 0.0
    began = time.perf_counter()
    work = audit.run(case)
    yield AuditProgress(name, 0.0, plan.left(name, 0.0))
    try:
        auditing = ResultIterator(work)
        for part in auditing:
            if time.perf_counter() - shown > _EVERY:
                shown = time.perf_counter()
                yield AuditProgress(name, part.done / part.total, plan.left(name, part.done / part.total))
        return auditing.result
    except Exception as error:
        message = failed(error).message
        traceback.clear_frames(error.__traceback__)
        seconds = time.perf_counter() - began
        return AuditResult(name, "not applicable", f"It could not be done: {message}", seconds=seconds)
    finally:
        work.close()


class _Plan:
    """What fits the budget, and how long the rest will take at the pace seen so far."""

    def __init__(self, case: AuditCase, audits: Sequence[Audit], budget: float | None) -> None:
        self.budget = budget
        self.estimates: dict[str, float] = {}
        self.skipped: dict[str, str] = {}
        self._expected = self._spent = 0.0
        total = 0.0
        for audit in audits:
            seconds = audit.estimate(case)
            if budget is not None and total + seconds > budget:
                self.skipped[audit.info.name] = f"It would take about {seconds:.0f} s; the budget is used up."
                continue
            total += seconds
            self.estimates[audit.info.name] = seconds
        self._open = dict(self.estimates)

    @property
    def pace(self) -> float:
        """Seconds per estimated second, so far; estimates of very short audits say little."""
        return self._spent / self._expected if self._expected > 1.0 else 1.0

    def too_late(self, name: str, elapsed: float) -> str | None:
        """Why an audit that was planned no longer fits."""
        needed = self.estimates[name] * self.pace
        if self.budget is None or needed < 0.5 or elapsed + needed <= 1.1 * self.budget:
            return None
        del self._open[name]
        return f"It would take about {needed:.0f} s; the audits before it used up the budget."

    def took(self, name: str, seconds: float) -> None:
        del self._open[name]
        self._expected += self.estimates[name]
        self._spent += seconds

    def left(self, name: str, fraction: float) -> float:
        """Seconds until all is done, `fraction` into the audit `name`."""
        return self.pace * (sum(self._open.values()) - fraction * self.estimates[name])


def open_case(
    run: str | Path,
    *,
    home: str | Path | None = None,
    target: str | None = None,
    data: str | None = None,
    public: bool = False,
) -> AuditCase:
    """Load what a run's audits need: the unlearned model with whatever stands before it, its data, and what
    it is compared with.

    InputError for a run that is not there, IntegrityError where its weights were not kept.
    """
    from unlearn_core.evaluation.audits import AuditCase
    from unlearn_core.models.catalogue import retain_model_of
    from unlearn_core.models.files.adapter_folder import base_dtype_of
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target

    store = RunStore(home)
    try:
        spec, weights = _find(run, store, target, data)
        loaded = load_for(spec, public=public, uploads=store.uploads)
    finally:
        store.close()
    unlearned = load_target(str(weights))
    use_format(unlearned.model, unlearned.tokenizer, loaded, spec.prompt)
    retain_only = original = None
    named = retain_model_of(spec.target, spec.data, spec.retain_model, spec.subject)
    if named is not None and not is_stored(named):
        with contextlib.suppress(IntegrityError):  # not in this installation
            retain_only = load_target(named, public=public).model
    if retain_only is not None or _has_room_beside(unlearned.model):
        with contextlib.suppress(LetheError):  # not on this machine, or no room
            original = load_target(spec.target, dtype=base_dtype_of(weights), public=public).model
    model, digest = unlearned.model, unlearned.weights_hash
    return AuditCase(model, unlearned.tokenizer, loaded, original, retain_only, seed=spec.seed, weights_hash=digest)


def _has_room_beside(model: PreTrainedModel) -> bool:
    """Whether as much again as what an attack takes, the model and its gradients, is free."""
    from unlearn_core.models.files.model_files import free_memory

    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    return 4 * size < free_memory(model.device)


def _find(run: str | Path, store: RunStore, target: str | None, data: str | None) -> tuple[RunSpec, Path]:
    """What was asked for and where the weights are: a run's folder, another folder, or an id."""
    folder = Path(run).expanduser()
    if not folder.is_dir():
        record = store.get(str(run))
        return RunSpec.from_json(record.spec), store.weights(record.id)
    marked = folder / WEIGHTS if (folder / WEIGHTS).is_dir() else folder
    spec = _spec_of(marked)
    if target or data or spec is None:
        spec = RunSpec(target=target or "demo", data=data or "demo")
    return spec, marked


def _spec_of(weights: Path) -> RunSpec | None:
    """The spec that a run wrote beside its weights."""
    import json

    try:
        marker = json.loads((weights / "complete.json").read_text(encoding="utf-8"))
        return RunSpec.from_json(marker["spec"])
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None


def check_budget(seconds: float | None) -> None:
    """InputError for a budget that is no length of time."""
    if seconds is not None and not 0 < seconds <= MAX_BUDGET:
        raise InputError("budget", seconds, "is out of range", f"Use 1 to {MAX_BUDGET:.0f} seconds.")
