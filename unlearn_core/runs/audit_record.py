"""The audits of a run as far as they have come: one part of its state (see `runs.state`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from unlearn_core.runs.events import (
    AuditDone,
    AuditLogged,
    AuditProgress,
    AuditsFinished,
    AuditSkipped,
    AuditsPlanned,
    AuditsQueued,
    AuditsStopped,
)

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson

OPEN = ("queued", "running")


@dataclass(frozen=True)
class AuditRecord:
    """status: queued, running, finished, cancelled, failed, interrupted.

    `planned` maps audits to estimated seconds, `skipped` to why they were left out; `results` are AuditResults as
    JSON, by name: earlier ones stay until the same audit is done again, or other weights are audited. `at` and
    `fraction` say where the audits under way are.
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

    def after(self, event: AuditLogged) -> AuditRecord:
        """The record once `event` has happened."""
        match event:
            case AuditsQueued(created, budget, process):
                return AuditRecord(
                    created=created,
                    budget_seconds=budget,
                    process=process,
                    weights_hash=self.weights_hash,
                    results=self.results,
                )
            case AuditsPlanned(planned, skipped, _, digest):
                results = self.results if digest == self.weights_hash else {}
                found = replace(self, status="running", planned=planned, skipped=skipped)
                return replace(found, weights_hash=digest, results=results)
            case AuditProgress(name, fraction, left):
                return replace(self, at=name, fraction=fraction, seconds_left=max(0.0, left))
            case AuditDone(result):
                results = {**self.results, result.name: result.to_json()}
                return replace(self, results=results, done=(*self.done, result.name), fraction=1.0)
            case AuditSkipped(name, reason):
                return replace(self, skipped={**self.skipped, name: reason})
            case AuditsFinished(seconds):
                return self._over("finished", "", seconds)
            case AuditsStopped(status, message, seconds):
                return self._over(status, message, seconds)

    def _over(self, status: str, message: str, seconds: float) -> AuditRecord:
        return replace(self, status=status, message=message, seconds=seconds, at="", seconds_left=None)
