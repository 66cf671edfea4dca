"""What the training loop yields: its steps, which a run completes, and events that a run passes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.errors import DivergedError

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact

WATCHED_SPLITS = ("forget", "retain", "neighbours", "general")  # whose answers are watched, in this order


@dataclass(frozen=True, slots=True)
class LoopStep:
    """One optimiser step (numbered from 1). `tokens` counts real tokens; `seconds` since the first step."""

    step: int
    num_steps: int
    losses: dict[str, float]  # "total"; "forget" and "retain" where the method has them
    learning_rate: float
    gradient_norm: float
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class WatchedFact:
    """How probable one watched answer is (see models.inference.answer_probability).

    probability: of the whole answer, 0..1; None in records of versions that knew its mean only. per_token: the
    geometric mean per token, which canaries go by, because it is alike for answers of any length. pieces: the
    first tokens of the answer, each with its probability after those before it; of a few facts only.
    """

    id: str
    prompt: str
    answer: str
    probability: float | None
    split: str  # of WATCHED_SPLITS
    per_token: float | None = None
    pieces: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class FactProbe:
    """The watched facts after `step` optimiser steps (0 = the original model).

    watching: share (0..1) of the training's time that went into watching it so far. merit: how good these
    weights are, 0 to 1 (see `training.watching.canary`); best: the step whose weights were the best so far.
    """

    step: int
    facts: tuple[WatchedFact, ...]
    watching: float = 0.0
    merit: float = 0.0
    best: int = 0


@dataclass(frozen=True, slots=True)
class FactAnswers:
    """What the model writes after `step` steps to some of the watched prompts: {"id", "split", "text"}."""

    step: int
    answers: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class SubjectsAsked:
    """By subject, whether the model after `step` steps would answer its first fact word for word."""

    step: int
    told: dict[str, bool]


@dataclass(frozen=True, slots=True)
class CanaryAlert:
    """A canary went down, or came up again: the mean probability per token of answers that must survive.

    canary: "retain", "neighbours" or "general". start, now: mean probabilities (0..1). The rule is in
    `training.watching.canary`.
    """

    step: int
    canary: str
    start: float
    now: float
    down: bool

    @property
    def message(self) -> str:
        """What happened, in words."""
        name = {"general": "utility"}.get(self.canary, self.canary)
        figures = f"{self.now:.0%} at step {self.step}, {self.start:.0%} at the start"
        return f"The {name} canary {'is down' if self.down else 'has come up again'}: {figures}."


@dataclass(frozen=True, slots=True)
class BestKept:
    """The run ends with the weights of step `step`, the best watched, out of `last` steps that were taken.

    merit, last_merit: how good those weights and the last ones were, 0 to 1 (see `training.watching.canary`).
    """

    step: int
    last: int
    merit: float
    last_merit: float

    @property
    def message(self) -> str:
        """What was kept, in words."""
        if self.step == self.last:
            return f"The last weights, of step {self.last}, were the best and are kept."
        return (
            f"The weights of step {self.step} are kept, not those of step {self.last}: forgetting against "
            f"canaries {self.merit:.2f}, {self.last_merit:.2f} at the end."
        )


@dataclass(frozen=True, slots=True)
class Warned:
    """Something the user should know; the run goes on."""

    message: str


Record = LoopStep | FactProbe | FactAnswers | SubjectsAsked | CanaryAlert | BestKept | Warned


class StepDiverged(DivergedError):
    """A loss or gradient left the finite numbers; `artifact` holds the weights before that step."""

    def __init__(self, step: int, what: str, artifact: Artifact) -> None:
        problem = f"is not a finite number at step {step}"
        mend = "Use a smaller learning_rate or fewer steps."
        super().__init__("loss", what, problem, mend, ("learning_rate", "half"))
        self.step, self.artifact = step, artifact
