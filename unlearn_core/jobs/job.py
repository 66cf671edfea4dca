"""One piece of work of the worker: a run, the audits of one, or a secret of one relearned; and how it stands."""

from __future__ import annotations

import contextlib
import contextvars
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.data.types import Example
from unlearn_core.runs.control import Control
from unlearn_core.runs.events import CostEstimate, Failed
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.audit_record import record_audits
from unlearn_core.store.game.relearned import Relearned
from unlearn_core.store.store import RunStore

if TYPE_CHECKING:
    from unlearn_core.store.audits import AuditEvent


@dataclass(frozen=True)
class AuditRequest:
    """Which audits of a run, None for all, and in how much time."""

    run_id: str
    budget_seconds: float | None
    names: tuple[str, ...] | None


@dataclass(frozen=True)
class RelearnRequest:
    """Which secret of a run is asked for after relearning."""

    run_id: str
    secret: Example = field(repr=False)


def audits_of(run_id: str, home: Path, budget_seconds: float | None, **options: Any) -> Generator[AuditEvent]:
    """`record_audits`, by nothing but what another process can be told."""
    with contextlib.closing(RunStore(home, shared=options["public"])) as store:
        yield from record_audits(run_id, store, budget_seconds, **options)


@dataclass
class Job:
    """What is queued or at work, and what became of it so far."""

    id: str
    spec: RunSpec
    owner: str
    control: Control = field(default_factory=Control)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    step: int = 0
    interrupted: bool = False
    audits: AuditRequest | None = None
    relearn: RelearnRequest | None = None
    relearned: Relearned | None = field(default=None, repr=False)  # how far that is
    failure: str = ""  # why it came to nothing
    began: float | None = None
    sign: float = 0.0  # when its last event came
    end: Failed | None = None  # what it ends with, where it is not its own doing
    over: bool = False  # its end is known; the worker may still be writing it down and tidying up
    given_up: bool = False  # the queue went on without it
    usual: float | None = None  # seconds that such a job takes
    until: float | None = None  # on the monotonic clock, as the job itself says while it is under way

    @property
    def seconds_left(self) -> float | None:
        return self.usual if self.until is None else max(0.0, self.until - time.monotonic())

    def heed(self, event: object) -> None:
        """Learn from an event how long it still takes."""
        left = getattr(event, "seconds_left", None)
        if isinstance(event, CostEstimate) and self.usual is None:
            left = event.cost.get("seconds")
        if left is not None:
            self.until = time.monotonic() + left
