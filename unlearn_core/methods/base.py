"""The method interface: a frozen dataclass of hyperparameters plus the few hooks a method needs.

A method declares itself once (`Info` and its fields); the page's form, the command line's flags and
the methods page are generated from that. Defaults do nothing, so gradient ascent is ten lines; what only
some methods do besides is in `methods.capabilities`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from unlearn_core.methods.context import BatchComposition, Context, Losses, RowKind, RowPart, StepBatch
from unlearn_core.methods.parameters import Parameter, check, declared, parameter

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.models.artifacts import Artifact

__all__ = [
    "BUNDLED_ROWS",
    "BatchComposition",
    "Context",
    "Edit",
    "EditedUnit",
    "Info",
    "Losses",
    "Method",
    "Parameter",
    "RowKind",
    "RowPart",
    "StepBatch",
    "Traits",
    "parameter",
]

Family = Literal["gradient", "preference", "representation", "arithmetic", "editing", "inference time", "recipe"]
Need = Literal[
    "forget",
    "retain",
    "holdout",
    "refusals",
    "alternatives",
    "contrast pairs",
    "spans",
    "reference nll",
    "reference logits",
]


@dataclass(frozen=True)
class Info:
    """What a method says of itself. `cost` is FLOPs of a step relative to fine-tuning on the forget batch."""

    name: str
    title: str
    family: Family
    taxonomy: Literal["global weights", "local weights", "architecture", "input/output"]
    idea: str  # two sentences, for people
    formula: str  # the objective, plain text
    paper: str
    cost: float
    needs: frozenset[Need] = frozenset({"forget"})
    caution: str = ""  # how it fails, where it is known to

    @property
    def changes_weights(self) -> bool:
        """False for what stands before the model or between its layers: all is still there beneath."""
        return self.taxonomy not in ("input/output", "architecture")


@dataclass(frozen=True)
class Traits:
    """What is true of a method's training and not of most: what trains, how its curves read, what it holds."""

    adapter: Literal["full", "lora", "none"] | None = None  # the only one it can train; None: full weights or LoRA
    # Whether what the original says is stored beside an adapter too, and not asked of it with that switched off.
    stores_reference: bool = False
    # Whether the losses of some of a step's sequences, each held against what all of them number (`Context.rows`), add
    # up to those of the step: it may then be taken in pieces, for less memory.
    additive: bool = False
    # Which way the forget curve goes when all is well. False for methods that first learn what they will
    # take away, and where the curve is a distance to a target.
    forget_rises: bool = True
    # The share of the steps by which answers that must survive are back, for methods that let them fall
    # first; until then their fall is no cause for warning.
    recovers_by: float = 0.0
    # False where the weights on the way are a means only; so they are wherever `finalise` makes others of the last.
    any_step_can_end: bool = True
    least_rate: float = 0.3  # the least share of the default learning rate for a small forget set (see `for_rows`)
    least_steps: float = 0.3  # the same of the steps
    # Copies of the weights that train, in float32, which the method keeps beside them at its fullest.
    weight_copies: int = 0


BUNDLED_ROWS = 280  # forget rows of the bundled world, for which the default steps and rates are meant


@dataclass(frozen=True)
class Method:
    """Base of every method: the schedule they share, and hooks that do nothing."""

    info: ClassVar[Info]
    traits: ClassVar[Traits] = Traits()

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(60, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    batch_size: int = parameter(24, "Forget sequences per step", 1, 4096)
    max_gradient_norm: float = parameter(1.0, "Gradient clipping; 0 switches it off", 0.0, 1e6)
    warmup: float = parameter(0.1, "Share of the steps over which the learning rate rises", 0.0, 1.0)

    def __post_init__(self) -> None:
        for item in self.parameters():
            check(item, getattr(self, item.name))

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """The hyperparameters, in the order they were declared."""
        return declared(cls)

    @classmethod
    def on_schedule_of(cls, other: Method, steps: int) -> Self:
        """This method for `steps` steps, with the other hyperparameters that all methods share as `other` has them."""
        return cls(other.learning_rate, steps, other.batch_size, other.max_gradient_norm, other.warmup)

    @classmethod
    def candidates(cls) -> tuple[dict[str, Any], ...]:
        """The settings a comparison chooses from: the defaults, and half and twice the learning rate, or
        the first other number where a method has no rate; out of range, the bound."""
        numbers = [item for item in cls.parameters() if item.type in (float, int) and item.name != "steps"]
        rates = [item for item in numbers if item.name == "learning_rate"]
        found: list[dict[str, Any]] = [{}]
        for item in (rates or numbers)[:1]:
            low, high = item.minimum or 0.0, item.maximum or math.inf
            values = (item.type(min(max(item.default * factor, low), high)) for factor in (0.5, 2))
            found += [{item.name: value} for value in values if value != item.default]
        return tuple(found)

    def for_rows(self, num_forget: int, most: int = 100_000, given: Collection[str] = ()) -> Method:
        """The same for a forget set of this size, except for the parameters `given`.

        A larger set than the bundled one gets as many passes. A smaller one gets fewer and smaller steps: AdamW
        moves a weight about as far whatever the gradient, so that as many steps over a few rows would take the
        model as far from everything else.
        """
        share = num_forget / BUNDLED_ROWS
        steps = max(1, round(self.steps * max(self.traits.least_steps, share)))
        scaled: dict[str, Any] = {"steps": min(steps, max(most, self.steps))}
        if share < 1:
            scaled["learning_rate"] = self.learning_rate * max(self.traits.least_rate, share)
        return dataclasses.replace(self, **{name: value for name, value in scaled.items() if name not in given})

    def mix(self) -> BatchComposition:
        """The make-up of a step: as many retain as forget sequences where the method needs them."""
        return BatchComposition(self.batch_size, self.batch_size if "retain" in self.info.needs else 0)

    def supports(self, model: PreTrainedModel) -> str | None:
        """None, or the reason this method cannot work on `model`."""
        return None

    def prepare(self, context: Context) -> None:
        """Called once before the first step; must leave the weights unchanged."""

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        """The losses of one step; the loop owns backward, clipping, the optimiser and logging."""
        raise NotImplementedError

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        """Called after each optimiser step (dual variables, schedules)."""

    def finalise(self, context: Context) -> Artifact:
        """The artifact, applied to the model; by default what the steps came to."""
        return context.trained()


@dataclass(frozen=True)
class EditedUnit:
    """One edit that `units` has made: numbers for the curves, how many weights, and the tokens it read."""

    losses: dict[str, float]
    num_weights: int
    num_tokens: int = 0


@dataclass(frozen=True)
class Edit(Method):
    """A method without gradient steps: it edits weights unit by unit, or none at all (a front)."""

    traits = Traits(adapter="none")

    # Declared without help, so that no form and no flag offers what has no meaning here.
    learning_rate: float = 0.0
    steps: int = 1
    batch_size: int = 24
    max_gradient_norm: float = 0.0
    warmup: float = 0.0

    def for_rows(self, num_forget: int, most: int = 100_000, given: Collection[str] = ()) -> Method:
        """The same: a round is a pass over the whole set, however large it is."""
        return self

    def units(self, context: Context) -> Iterator[EditedUnit]:
        """Make one edit at a time through `context.edits`, and say after each what it was.

        How many there will be is `context.num_steps`, which `prepare` may set.
        """
        yield from ()
