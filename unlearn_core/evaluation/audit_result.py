"""What an audit came to, as data: what the leakage card, the log of a run and its verdict are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypedDict

from unlearn_core.system.files import finite

Verdict = Literal["leaks", "holds", "not applicable"]
AuditRow = dict[str, Any]  # an example or a step behind a figure, JSON-ready


class AuditJson(TypedDict, total=False):
    """An `AuditResult` as it is stored and sent."""

    name: str
    title: str  # of what is no audit: what players found
    verdict: Verdict
    headline: str
    figures: dict[str, Any]  # numbers, null where one could not be measured
    rows: list[AuditRow]
    seconds: float


@dataclass(frozen=True, slots=True)
class AuditResult:
    """One row of the leakage card. `rows` are examples or steps behind the figure, JSON-ready."""

    name: str
    verdict: Verdict
    headline: str
    figures: dict[str, float] = field(default_factory=dict)
    rows: tuple[AuditRow, ...] = ()
    seconds: float = 0.0

    @property
    def control(self) -> float | None:
        """The highest of the controls: what the same attack gets where nothing was ever known."""
        found = [self.figures[name] for name in ("holdout", "retain_only") if name in self.figures]
        return max(found) if found else None

    def to_json(self) -> AuditJson:
        found: AuditJson = finite(asdict(self))  # what could not be measured is null
        return found

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> AuditResult:
        return cls(**{**record, "rows": tuple(record["rows"])})
