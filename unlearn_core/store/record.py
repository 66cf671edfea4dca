"""What run.json says of a run: a view of what its events come to, and of when the store saw them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState
from unlearn_core.store.table.index import HOUSE
from unlearn_core.system.files import this_process

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.evaluation.verdict.types import VerdictJson
    from unlearn_core.runs.planning.costs import CostJson
    from unlearn_core.runs.spec import SpecJson
    from unlearn_core.store.table.rows import RecordJson


@dataclass(frozen=True)
class RunRecord:
    """What run.json holds. Times are seconds since 1970; `owner` is a hash, "" for nobody in particular."""

    id: str
    spec: SpecJson
    status: str
    created: float
    owner: str = ""
    started: float | None = None
    ended: float | None = None
    process: Mapping[str, object] = field(default_factory=dict)
    message: str = ""
    num_steps: int = 0
    scores: dict[str, ScoresJson] = field(default_factory=dict)  # by model, without generations
    verdict: VerdictJson | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    artifact: str = ""
    costs: dict[str, CostJson] = field(default_factory=dict)  # "estimated" and "measured"
    kept: dict[str, Any] | None = None  # the step whose weights these are, where not the last
    version: int = 1
    title: str = ""  # what it was renamed to; kept in labels.json, like the tags
    tags: tuple[str, ...] = ()
    out: str = ""  # the folder that holds its weights, where it is not the run's own

    @property
    def name(self) -> str:
        return str(self.title or self.spec.get("name") or self.spec.get("method", ""))

    @property
    def is_recorded(self) -> bool:
        """Whether it ships with Lethe (see `store.recorded.recorded_runs`)."""
        return self.owner == HOUSE

    @classmethod
    def from_json(cls, record: RecordJson) -> RunRecord:
        known = {f.name for f in fields(cls)}
        return cls(**{key: value for key, value in record.items() if key in known})


def plain(record: RunRecord) -> RecordJson:
    """What run.json holds of a record."""
    return {key: value for key, value in asdict(record).items() if key not in ("title", "tags")}


def fields_of_state(state: RunState) -> RecordJson:
    """What run.json says of a run, as far as its events tell."""
    told: RecordJson = {"spec": {**state.spec, **state.settled}, "scores": dict(state.scored), "costs": {}}
    if state.status:
        told |= {"status": state.status, "message": state.failure.message if state.failure else ""}
    if state.started is not None:
        told["num_steps"] = state.started.num_steps
    if state.estimated:
        told["costs"]["estimated"] = state.estimated
    if state.kept is not None:
        told["kept"] = asdict(state.kept)
    if state.finished is not None:
        end = state.finished
        told |= {"verdict": state.verdict, "seconds": end.seconds, "artifact": end.artifact}
        if end.cost:
            told["costs"]["measured"] = end.cost
    return told


def fields_of_event(event: ev.Logged, home: Path) -> RecordJson:
    """What the store alone knows of an event: when it happened, and which process is at work from then on."""
    now = time.time()
    if isinstance(event, ev.RunStarted):
        return {"started": now, "process": this_process(home)}
    if isinstance(event, ev.Resumed):
        return {"ended": None, "process": this_process(home)}
    return {"ended": now} if isinstance(event, ev.TERMINAL) else {}
