"""A run as far as it has come: its events folded into what a page or a report draws.

Folding is cheap and goes event by event, so that a live view and a finished report share it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.events import (
    BestKept,
    CanaryAlert,
    Cancelled,
    CostEstimate,
    Event,
    FactAnswers,
    FactProbe,
    Failed,
    Finished,
    Judged,
    PromptChosen,
    Resumed,
    RunStarted,
    Score,
    StageProgress,
    Step,
    SubjectsAsked,
    SubjectsPlaced,
    Warned,
)

if TYPE_CHECKING:
    from unlearn_core.evaluation.verdict.types import VerdictJson
    from unlearn_core.runs.planning.costs import CostJson
    from unlearn_core.runs.spec import SpecJson

# Of a run on the bundled model, roughly, by the first word of the stage.
_USUAL_WEIGHT = {"load": 1.0, "score": 2.0, "unlearn": 8.0, "save": 0.5}

Stepped = TypeVar("Stepped", Step, FactProbe, FactAnswers, SubjectsAsked)


@dataclass
class RunState:
    """The state of one run after `num_events` events."""

    num_events: int = 0
    started: RunStarted | None = None
    progress: StageProgress | None = None
    steps: list[Step] = field(default_factory=list)
    probes: list[FactProbe] = field(default_factory=list)
    answers: list[FactAnswers] = field(default_factory=list)
    placed: SubjectsPlaced | None = None  # None in runs of versions without a map
    asked: list[SubjectsAsked] = field(default_factory=list)
    alerts: list[CanaryAlert] = field(default_factory=list)
    kept: BestKept | None = None
    scores: dict[str, Scores] = field(default_factory=dict)  # original, unlearned, retain_only
    warnings: list[str] = field(default_factory=list)
    estimated: CostJson = field(default_factory=dict)  # the cost foretold (see runs.planning.costs.Cost)
    end: Finished | Failed | Cancelled | None = None
    judged: list[Judged] = field(default_factory=list)  # anew, after the run was over

    def add(self, event: Event) -> None:
        self.num_events += 1
        match event:
            case RunStarted():
                self.started = event
            case StageProgress():
                self.progress = event
            case Step():
                _put(self.steps, event)
            case FactProbe():
                _put(self.probes, event)
            case FactAnswers():
                _put(self.answers, event)
            case SubjectsPlaced():
                self.placed = event
            case SubjectsAsked():
                _put(self.asked, event)
            case CanaryAlert():
                self.alerts = [a for a in self.alerts if a.step < event.step or a.canary != event.canary]
                self.alerts.append(event)
            case BestKept():
                self.kept = event
            case Resumed():
                self.end = self.progress = None
            case Score():
                self.scores[event.model] = Scores.from_json(event.scores)
            case CostEstimate():
                self.estimated = event.cost
            case Warned():
                self.warnings.append(event.message)
            case PromptChosen():
                if event.name != "raw":
                    self.warnings.append(event.message)
            case Finished() | Failed() | Cancelled():
                self.end = event
            case Judged():
                self.judged.append(event)

    @property
    def spec(self) -> SpecJson:
        """The spec as carried out; empty before the run has started."""
        return self.started.spec if self.started else {}

    @property
    def stages(self) -> tuple[str, ...]:
        return self.started.stages if self.started else ()

    @property
    def stage(self) -> str:
        """The stage at work, or "" before the first."""
        return self.progress.stage if self.progress else ""

    @property
    def notes(self) -> list[str]:
        """What the user should know of the run: its warnings, and which weights it ended with."""
        return self.warnings + ([self.kept.message] if self.kept else [])

    @property
    def down(self) -> list[CanaryAlert]:
        """The canaries that are down now, by their last alert."""
        last = {alert.canary: alert for alert in self.alerts}
        return [alert for alert in last.values() if alert.down]

    @property
    def verdict(self) -> VerdictJson | None:
        if not isinstance(self.end, Finished):
            return None
        return self.judged[-1].verdict if self.judged else self.end.verdict

    @property
    def fraction(self) -> float:
        """How much of the run is done, 0..1, by the usual share of each stage."""
        if isinstance(self.end, Finished):
            return 1.0
        if self.progress is None or self.progress.stage not in self.stages:
            return 0.0
        weights = [_USUAL_WEIGHT.get(stage.split()[0], 1.0) for stage in self.stages]
        at = self.stages.index(self.progress.stage)
        within = self.progress.done / self.progress.total if self.progress.total else 0.0
        return (sum(weights[:at]) + weights[at] * min(max(within, 0.0), 1.0)) / sum(weights)

    @property
    def seconds_left(self) -> float | None:
        return self.progress.seconds_left if self.progress and self.end is None else None

    @property
    def seconds(self) -> float | None:
        """Wall time of a finished run, all stages together."""
        return sum(self.end.seconds.values()) if isinstance(self.end, Finished) else None


def _put(known: list[Stepped], event: Stepped) -> None:
    """Append by step: a run that was resumed goes through some steps a second time."""
    while known and known[-1].step >= event.step:
        known.pop()
    known.append(event)
