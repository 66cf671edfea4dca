"""What some methods do besides the hooks of `Method`. Each capability is a small class to inherit from:

    class NGDiff(CombinesGradients, Method): ...

The loop asks with `isinstance`, or through a function here where a method without the capability has an answer too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unlearn_core.methods.base import Context, Method, RowPart

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Phase:
    """A stretch of a run with its own optimiser, schedule, losses and choice of rows."""

    method: Method
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)  # by part; all where not named


class RunsInPhases(ABC):
    """Trains in stretches, or on a choice of the rows."""

    @abstractmethod
    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        """What follows what; their steps add up to `steps`. Only this method's own `prepare` is called."""


def phases_of(method: Method, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
    """The phases of a run; a single one for most methods."""
    return method.phases(parts, seed) if isinstance(method, RunsInPhases) else (Phase(method),)


class TrainsSubset(ABC):
    """Trains some of the parameters only."""

    @abstractmethod
    def trains(self, name: str, num_layers: int) -> bool:
        """Whether the parameter called `name` trains, in a model of `num_layers` layers."""


def trains(method: Method, name: str, num_layers: int) -> bool:
    """Whether a parameter trains; all of them do for most methods."""
    return not isinstance(method, TrainsSubset) or method.trains(name, num_layers)


class UsesReference(ABC):
    """Compares with the original's predictions at other parts than its `needs` tell, or as its parameters say."""

    @property
    @abstractmethod
    def reference_parts(self) -> tuple[str, ...]:
        """The parts at whose targets the original's log-probabilities are wanted in the steps."""

    @property
    def distilled_parts(self) -> tuple[str, ...]:
        """The parts that are given other predictions instead (`ReferenceModel.distil`), stored in any case."""
        return ()


def reference_parts_of(method: Method) -> tuple[str, ...]:
    """See `UsesReference`; for most methods the retain set, where they need the original's logits at all."""
    if isinstance(method, UsesReference):
        return method.reference_parts
    return ("retain",) if "reference logits" in method.info.needs else ()


def distilled_parts_of(method: Method) -> tuple[str, ...]:
    """See `UsesReference`; none for most methods."""
    return method.distilled_parts if isinstance(method, UsesReference) else ()


class ReadsHiddenLayer(ABC):
    """Has losses of hidden states (`AnswerPredictions.hidden_ND`) and not of logits; nothing above that layer runs."""

    @abstractmethod
    def hidden_layer(self, num_layers: int) -> int:
        """The layer whose output the losses read, from 0, in a model of `num_layers` layers."""


def hidden_layer_of(method: Method, num_layers: int) -> int | None:
    """The layer whose output the losses read; None for logits."""
    return method.hidden_layer(num_layers) if isinstance(method, ReadsHiddenLayer) else None


class ReadsStates(ABC):
    """Has losses of what some layers put out at the last token of each prompt (`AnswerPredictions.states_BLD`),
    besides those of logits."""

    @abstractmethod
    def state_layers(self, num_layers: int) -> tuple[int, ...]:
        """These layers, from 0 and ascending, in a model of `num_layers` layers."""


def state_layers_of(method: Method, num_layers: int) -> tuple[int, ...]:
    """The layers whose states the losses read besides the logits; none for most methods."""
    return method.state_layers(num_layers) if isinstance(method, ReadsStates) else ()


@dataclass(frozen=True)
class LatentAttack:
    """A shift of the hidden states that enter `layer`, sought anew each step to make the forget answers
    likely: `rounds` steps of descent within `radius` (the norm of a sequence's whole shift)."""

    layer: int
    radius: float
    rounds: int


class AttacksLatents(ABC):
    """Passes the forget sequences through the model under an attack on its hidden states."""

    @abstractmethod
    def attack(self, num_layers: int) -> LatentAttack | None:
        """The attack in training, in a model of `num_layers` layers; None where it is switched off."""


def attack_of(method: Method, num_layers: int) -> LatentAttack | None:
    """The attack under which the forget sequences pass the model in training; None for none."""
    return method.attack(num_layers) if isinstance(method, AttacksLatents) else None


def looks_inside(method: Method, num_layers: int) -> bool:
    """Whether single layers are read or attacked, so that a model must go through one after the other."""
    return hidden_layer_of(method, num_layers) is not None or attack_of(method, num_layers) is not None


class PerturbsWeights(ABC):
    """Takes each gradient where the weights are perturbed to raise the step's own loss (Foret et al. 2020, arXiv
    2010.01412)."""

    @property
    @abstractmethod
    def perturbation_radius(self) -> float:
        """Norm of the perturbation of all weights together; 0: none."""


def perturbation_radius_of(method: Method) -> float:
    """How far the weights are perturbed before a gradient is taken; 0 for most methods."""
    return method.perturbation_radius if isinstance(method, PerturbsWeights) else 0.0


class CombinesGradients(ABC):
    """Steps along a combination of the gradients of the forget and of the retain loss; the loop then neither adds
    the losses nor clips."""

    @abstractmethod
    def combine(self, forget: list[torch.Tensor], retain: list[torch.Tensor]) -> list[torch.Tensor]:
        """The gradient to step along, from those of the two losses, per parameter."""


class SeesGradients(ABC):
    """Reads or changes the gradients before a step is made of them."""

    @abstractmethod
    def after_backward(self, context: Context) -> None:
        """Called before each optimiser step, with the clipped gradients in `context.parameters`."""


class ScalesLearningRate(ABC):
    """Fits the learning rate as training goes."""

    @abstractmethod
    def rate_factor(self, context: Context) -> float:
        """What the scheduled learning rate of the next step is multiplied by."""


def any_step_can_end(method: Method) -> bool:
    """Whether the model after any step could be the result. Where the end is a step of its own (a merge, a change
    of sign), the weights on the way there are not."""
    return method.traits.any_step_can_end and type(method).finalise is Method.finalise
