"""A run as far as it has come: the one place where its events are folded.

The store's record, the page, the command line, the bench and the trackers are views of a `RunState`; none of them
matches events to find out what a run came to. Folding is cheap and goes event by event and in place, so that a live
view of thousands of steps costs no more than a finished run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.audit_record import AuditRecord
from unlearn_core.runs.events import (
    INTERRUPTING,
    AuditLogged,
    BestKept,
    CanaryAlert,
    Cancelled,
    CostEstimate,
    FactAnswers,
    FactProbe,
    Failed,
    Finished,
    Judged,
    Logged,
    PromptChosen,
    Resumed,
    RunStarted,
    Score,
    StageProgress,
    Step,
    SubjectAnswers,
    SubjectFound,
    SubjectsAsked,
    SubjectsPlaced,
    Warned,
)

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.evaluation.verdict.types import VerdictJson
    from unlearn_core.runs.planning.costs import CostJson
    from unlearn_core.runs.spec import SpecJson

Stepped = TypeVar("Stepped", Step, FactProbe, FactAnswers, SubjectsAsked)


@dataclass
class RunState:
    """The state of one run after `num_events` events of its own; those of its audits are not counted."""

    num_events: int = 0
    status: str = ""  # queued, running, finished, failed, cancelled, interrupted; "" before the first event
    started: RunStarted | None = None
    prompt: PromptChosen | None = None
    subject: SubjectFound | None = None
    subject_answers: dict[str, SubjectAnswers] = field(default_factory=dict)  # by model
    progress: StageProgress | None = None
    step: int = 0  # of the training, where it stands
    steps: list[Step] = field(default_factory=list)
    probes: list[FactProbe] = field(default_factory=list)
    answers: list[FactAnswers] = field(default_factory=list)
    placed: SubjectsPlaced | None = None  # None in runs of versions without a map
    asked: list[SubjectsAsked] = field(default_factory=list)
    alerts: list[CanaryAlert] = field(default_factory=list)
    kept: BestKept | None = None
    scored: dict[str, ScoresJson] = field(default_factory=dict)  # as told, generations left out; by model
    messages: list[PromptChosen | Warned | CanaryAlert] = field(default_factory=list)  # meant for people, in order
    estimated: CostJson = field(default_factory=dict)  # the cost foretold (see runs.planning.costs.Cost)
    end: Finished | Failed | Cancelled | None = None
    judged: list[Judged] = field(default_factory=list)  # anew, after the run was over
    audits: AuditRecord | None = None  # None where there never were any
    _scores: dict[str, Scores | ScoresJson] = field(default_factory=dict, repr=False)  # JSON until somebody asks

    @classmethod
    def of(cls, events: Iterable[Logged]) -> RunState:
        """What `events` come to; draws them all."""
        state = cls()
        for event in events:
            state.add(event)
        return state

    def add(self, event: Logged) -> None:
        """Bring the state up to one more event."""
        if isinstance(event, AuditLogged):
            self.audits = (self.audits or AuditRecord()).after(event)
            return
        self.num_events += 1
        match event:
            case RunStarted():
                self.started, self.status = event, "running"
            case StageProgress():
                self.progress = event
            case Step():
                self.step = event.step
                _put(self.steps, event)
            case FactProbe():
                _put(self.probes, event)
            case FactAnswers():
                _put(self.answers, event)
            case SubjectFound():
                self.subject = event
            case SubjectAnswers():
                self.subject_answers[event.model] = event
            case SubjectsPlaced():
                self.placed = event
            case SubjectsAsked():
                _put(self.asked, event)
            case CanaryAlert():
                self.alerts = [a for a in self.alerts if a.step < event.step or a.canary != event.canary]
                self.alerts.append(event)
                self.messages.append(event)
            case BestKept():
                self.kept = event
            case Resumed():
                self.status, self.step = "queued", event.step
                self.end = self.progress = None
            case Score():
                self.scored[event.model] = {key: value for key, value in event.scores.items() if key != "generations"}
                self._scores[event.model] = event.scores
            case CostEstimate():
                self.estimated = event.cost
            case Warned():
                self.messages.append(event)
            case PromptChosen():
                self.prompt = event
                self.messages.append(event)
            case Finished():
                self.end, self.status = event, "finished"
            case Failed():
                self.end, self.status = event, "interrupted" if event.kind in INTERRUPTING else "failed"
            case Cancelled():
                self.end, self.status = event, "cancelled"
            case Judged():
                self.judged.append(event)

    @property
    def spec(self) -> SpecJson:
        """The spec as carried out; empty before the run has started."""
        return self.started.spec if self.started else {}

    @property
    def settled(self) -> SpecJson:
        """What was settled on the way in place of parts of the spec: the prompt format, and of a run on a subject the
        data it became and, where the run has none, its name."""
        found: SpecJson = {"prompt": self.prompt.name} if self.prompt else {}
        if self.subject is not None:
            name = self.spec.get("name") or str(self.subject.sheet.get("subject", ""))
            found |= {"data": self.subject.data, "subject": None, "name": name}
        return found

    @property
    def stages(self) -> tuple[str, ...]:
        return self.started.stages if self.started else ()

    @property
    def stage(self) -> str:
        """The stage at work, or "" before the first."""
        return self.progress.stage if self.progress else ""

    @property
    def scores(self) -> dict[str, Scores]:
        """Of original, unlearned and retain_only, as far as they were scored; read when they are first asked for."""
        return {model: self._read(model) for model in list(self._scores)}

    def _read(self, model: str) -> Scores:
        found = self._scores[model]
        if not isinstance(found, Scores):
            found = self._scores[model] = Scores.from_json(found)
        return found

    @property
    def notes(self) -> list[str]:
        """What the user should know of the run: its warnings, a prompt format that is not the usual one, and which
        weights it ended with."""
        unusual = [
            told.message
            for told in self.messages
            if isinstance(told, Warned) or (isinstance(told, PromptChosen) and told.name != "raw")
        ]
        return unusual + ([self.kept.message] if self.kept else [])

    @property
    def down(self) -> list[CanaryAlert]:
        """The canaries that are down now, by their last alert."""
        last = {alert.canary: alert for alert in self.alerts}
        return [alert for alert in last.values() if alert.down]

    @property
    def finished(self) -> Finished | None:
        """Its last event, if it reached its verdict."""
        return self.end if isinstance(self.end, Finished) else None

    @property
    def failure(self) -> Failed | None:
        """Its last event, if it could not go on."""
        return self.end if isinstance(self.end, Failed) else None

    @property
    def verdict(self) -> VerdictJson | None:
        if self.finished is None:
            return None
        return self.judged[-1].verdict if self.judged else self.finished.verdict

    @property
    def seconds_left(self) -> float | None:
        return self.progress.seconds_left if self.progress and self.end is None else None

    @property
    def seconds(self) -> float | None:
        """Wall time of a finished run, all stages together."""
        return sum(self.finished.seconds.values()) if self.finished else None


def _put(known: list[Stepped], event: Stepped) -> None:
    """Append by step: a run that was resumed goes through some steps a second time."""
    while known and known[-1].step >= event.step:
        known.pop()
    known.append(event)
