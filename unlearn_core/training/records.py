"""What the training loop yields: its own small records, which a run turns into events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.errors import DivergedError

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact


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
    """Mean probability per answer token (geometric mean, 0..1) of one watched answer."""

    id: str
    prompt: str
    answer: str
    probability: float
    split: str  # "forget", "retain" or "general"


@dataclass(frozen=True, slots=True)
class LoopProbe:
    """The watched facts after `step` optimiser steps (0 = the original model).

    watching: share (0..1) of the time since the training began that went into looks like this one.
    merit: how good these weights are (see `canary`); best: the step whose weights were the best so far.
    """

    step: int
    facts: tuple[WatchedFact, ...]
    watching: float = 0.0
    merit: float = 0.0
    best: int = 0


@dataclass(frozen=True, slots=True)
class LoopAnswers:
    """What the model writes after `step` steps to some of the watched prompts, by (split, id)."""

    step: int
    texts: dict[tuple[str, str], str]


@dataclass(frozen=True, slots=True)
class LoopAlert:
    """A canary went down, or came up again. `start` and `now` are mean probabilities (0..1)."""

    step: int
    canary: str  # "retain" or "general"
    start: float
    now: float
    down: bool


@dataclass(frozen=True, slots=True)
class LoopKept:
    """The training, of which `last` steps were taken, ends with the weights of step `step`, its best."""

    step: int
    last: int
    merit: float
    last_merit: float


@dataclass(frozen=True, slots=True)
class LoopNote:
    """Something the user should know; training goes on."""

    message: str


Record = LoopStep | LoopProbe | LoopAnswers | LoopAlert | LoopKept | LoopNote


class StepDiverged(DivergedError):
    """A loss or gradient left the finite numbers; `artifact` holds the weights before that step."""

    def __init__(self, step: int, what: str, artifact: Artifact) -> None:
        problem = f"is not a finite number at step {step}"
        super().__init__("loss", what, problem, "Use a smaller learning_rate or fewer steps.")
        self.step, self.artifact = step, artifact

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str, str, str, str]]:  # type: ignore[override]
        return DivergedError, (self.field, self.value, self.problem, self.mend)
