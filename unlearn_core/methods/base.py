"""The method interface: a frozen dataclass of hyperparameters plus the few hooks a method needs.

A method declares itself once (`Info` and its fields); the page's form, the command line's flags and
the methods page are generated from that. Defaults do nothing, so gradient ascent is ten lines.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from unlearn_core.errors import InputError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.data.encode import Encoded
    from unlearn_core.data.types import UnlearningData
    from unlearn_core.models.artifacts import Artifact, Edits
    from unlearn_core.models.inference.forward import AnswerPredictions

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
class Parameter:
    """One hyperparameter as the form and the flags need it."""

    name: str
    type: type
    default: Any
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    help: str


def parameter(
    default: Any,
    help: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field that carries its range and help text."""
    return field(default=default, metadata={"help": help, "min": minimum, "max": maximum, "choices": choices})


@dataclass(frozen=True)
class Losses:
    """Scalars of one step. `total` is what is minimised; `forget` and `retain` are for the curves."""

    total: torch.Tensor
    forget: torch.Tensor | None = None
    retain: torch.Tensor | None = None


@dataclass(frozen=True)
class StepBatch:
    """The parts of one step, already forwarded together in one padded pass.

    `index_B` of each part numbers rows of `Context.parts[name]`. A part of which the step takes no
    sequence has none.
    """

    forget: AnswerPredictions
    retain: AnswerPredictions | None = None
    holdout: AnswerPredictions | None = None
    refusals: AnswerPredictions | None = None
    alternatives: AnswerPredictions | None = None


@dataclass(frozen=True)
class BatchComposition:
    """How many sequences of each part go into one step, and in which forms.

    `general` of the retain sequences (a share, 0..1) are general facts where the data has any.
    With documents on, the whole text of each completion row (prompt and answer, every token a target)
    is a sequence of its own beside the answers; `documents` is their share of the forget and of the
    holdout sequences.
    """

    forget: int
    retain: int = 0
    holdout: int = 0
    general: float = 0.25
    forget_documents: bool = False
    retain_documents: bool = False
    documents: float = 0.25
    wordings: int = 0  # in which each forget question stands besides its own, some of its words left out
    # Refusals in place of the forget answers, or as a part of their own beside them, row for row.
    refusals: Literal["none", "beside", "instead"] = "none"


class RowKind(NamedTuple):
    """What sort of sequence a row is; rows of one form are compared with each other."""

    task: str
    kind: Literal["question", "completion", "document"]


@dataclass(frozen=True)
class RowPart:
    """Every sequence a run may draw on from the forget set, the retain set or the holdout."""

    rows: Sequence[Encoded]
    forms: Sequence[RowKind]


@dataclass(frozen=True)
class LatentAttack:
    """A shift of the hidden states that enter `layer`, sought anew each step to make the forget answers
    likely: `rounds` steps of descent within `radius` (the norm of a sequence's whole shift)."""

    layer: int
    radius: float
    rounds: int


@dataclass(frozen=True)
class Phase:
    """A stretch of a run with its own optimiser, schedule, losses and choice of rows."""

    method: Method
    rows: Mapping[str, Sequence[int]] = field(default_factory=dict)  # by part; all where not named


class ModelAccess(Protocol):
    """What a method may ask of the model as it is now, besides a step's own pass."""

    def answers(self, rows: Sequence[Encoded]) -> Iterator[AnswerPredictions]:
        """Predictions for the rows without gradient, some at a time and in no given order."""

    def predictions(self, rows: Sequence[Encoded], model: PreTrainedModel | None = None) -> AnswerPredictions:
        """Predictions for the rows in one pass, in their order and with gradient; of `model` where given."""

    def gradient(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """Gradient of the token mean NLL over all rows, by name of each trained parameter."""

    def continuations(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after each prompt, batched, up to and including the end of text."""


class ReferenceModel(Protocol):
    """The model as it was before the first step, without a second copy of it in memory."""

    def nll(self, part: str) -> torch.Tensor:
        """NLL (R,) of each row of a part, summed over its targets, in nats; first asked for in `prepare`."""

    def keep(self, part: str, calibrated: bool = False, stored: bool = False) -> None:
        """Announce, in `prepare`, that `kl`, `log_probs` or `hidden` of a part will be asked for.

        Stored: once for all, where the rows are few and come again, rather than anew in every step.

        Calibrated: at the temperature at which the part's own targets are likeliest, which takes the
        overconfidence out of what a model says of text it never saw (Guo et al. 2017, arXiv 1706.04599).
        """

    def teach(self, part: str, teachers: Mapping[int, Sequence[Encoded]], lowered: float = 0.0) -> None:
        """Replace, in `prepare`, the reference of some rows by what it says at their teachers' targets.

        A teacher has the row's own targets behind another prompt; several are averaged in probability.
        The first target that they give less than even odds has its log-odds lowered by `lowered` nats.
        """

    def strike(
        self,
        part: str,
        struck: Mapping[int, Sequence[Collection[int]]],
        nats: float,
        teachers: Mapping[int, Sequence[Encoded]],
    ) -> None:
        """Replace, in `prepare`, the reference of some rows by itself with tokens struck out.

        At each target of a row the log-odds of the tokens named for it are lowered by `nats`. A row with
        teachers (see `teach`) starts from what these say instead of its own.
        """

    def kl(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """KL(reference || current) (N,) at each labelled position of `answers`, in nats."""

    def log_probs(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """Reference log-probabilities (N, V) at the labelled positions of `answers`."""

    def hidden(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """Reference hidden states (N, D) there, after the layer that the method reads (`Method.reads`)."""


@dataclass
class Context:
    """What `prepare` may read, and where it leaves what `losses` needs (`state`)."""

    model: PreTrainedModel
    num_steps: int
    seed: int
    parts: dict[str, RowPart]
    reference: ReferenceModel
    passes: ModelAccess
    # By name, what trains; filled in before `prepare`.
    parameters: dict[str, torch.nn.Parameter] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)
    tokenizer: PreTrainedTokenizerBase = None  # type: ignore[assignment]  # set by the loop
    data: UnlearningData = None  # type: ignore[assignment]  # set by the loop
    edits: Edits = None  # type: ignore[assignment]  # set by the loop: where `units` writes
    trained: Callable[[], Artifact] = None  # type: ignore[assignment]  # set by the loop: what the steps did
    closing: ExitStack = field(default_factory=ExitStack)  # undone when the run ends, however it ends
    step: int = 0  # of the whole run, from 0
    rows: dict[str, list[Encoded]] = field(default_factory=dict)  # the sequences of this step, by part


@dataclass(frozen=True)
class EditedUnit:
    """One edit that `units` has made: numbers for the curves, how many weights, and the tokens it read."""

    losses: dict[str, float]
    num_weights: int
    num_tokens: int = 0


BUNDLED_ROWS = 280  # forget rows of the bundled world, for which the default steps and rates are meant


@dataclass(frozen=True)
class Method:
    """Base of every method: the schedule they share, and hooks that do nothing."""

    info: ClassVar[Info]
    # The only adapter the method can train ("full", "lora", "none"); None: full weights or LoRA.
    adapter: ClassVar[str | None] = None
    # Whether what the original says is stored beside an adapter too, and not asked of it with that switched off.
    stores_reference: ClassVar[bool] = False
    # Whether the losses of some of a step's sequences, each held against what all of them number (`Context.rows`), add
    # up to those of the step: it may then be taken in pieces, for less memory.
    additive: ClassVar[bool] = False
    # Which way the forget curve goes when all is well. False for methods that first learn what they will
    # take away, and where the curve is a distance to a target.
    forget_rises: ClassVar[bool] = True
    # The share of the steps by which answers that must survive are back, for methods that let them fall
    # first; until then their fall is no cause for warning.
    recovers_by: ClassVar[float] = 0.0
    # The least share of the default learning rate that a small forget set leaves (see `for_rows`).
    least_rate: ClassVar[float] = 0.3
    least_steps: ClassVar[float] = 0.3  # the same of the steps
    # Copies of the weights that train, in float32, which the method keeps beside them at its fullest.
    weight_copies: ClassVar[int] = 0

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(60, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    batch_size: int = parameter(24, "Forget sequences per step", 1, 4096)
    max_gradient_norm: float = parameter(1.0, "Gradient clipping; 0 switches it off", 0.0, 1e6)
    warmup: float = parameter(0.1, "Share of the steps over which the learning rate rises", 0.0, 1.0)

    def __post_init__(self) -> None:
        for item in self.parameters():
            check(item, getattr(self, item.name))

    @classmethod
    def on_schedule_of(cls, other: Method, steps: int) -> Self:
        """This method for `steps` steps, with the other hyperparameters that all methods share as `other` has them."""
        return cls(other.learning_rate, steps, other.batch_size, other.max_gradient_norm, other.warmup)

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """The hyperparameters, in the order they were declared."""
        hints = {"float": float, "int": int, "str": str, "bool": bool}
        return tuple(
            Parameter(
                f.name,
                hints[str(f.type)],
                f.default,
                f.metadata["min"],
                f.metadata["max"],
                f.metadata["choices"],
                f.metadata["help"],
            )
            for f in dataclasses.fields(cls)
            if "help" in f.metadata
        )

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
        steps = max(1, round(self.steps * max(self.least_steps, share)))
        scaled: dict[str, Any] = {"steps": min(steps, max(most, self.steps))}
        if share < 1:
            scaled["learning_rate"] = self.learning_rate * max(self.least_rate, share)
        return dataclasses.replace(self, **{name: value for name, value in scaled.items() if name not in given})

    def mix(self) -> BatchComposition:
        """The make-up of a step: as many retain as forget sequences where the method needs them."""
        return BatchComposition(self.batch_size, self.batch_size if "retain" in self.info.needs else 0)

    @property
    def separate_gradients(self) -> bool:
        """True where the method combines the gradients of the forget and the retain loss (`combine`);
        the loop then neither adds the losses nor clips."""
        return False

    @property
    def remembers(self) -> tuple[str, ...]:
        """The parts at whose targets the original's log-probabilities are wanted in the steps."""
        return ("retain",) if "reference logits" in self.info.needs else ()

    @property
    def teaches(self) -> tuple[str, ...]:
        """The parts that are given other predictions instead (`Reference.teach`), stored in any case."""
        return ()

    @property
    def may_end_anywhere(self) -> bool:
        """Whether the model after any step could be the result. Where the end is a step of its own (a
        merge, a change of sign), the weights on the way there are not."""
        return type(self).finalise is Method.finalise

    def trains(self, name: str, num_layers: int) -> bool:
        """Whether the parameter called `name` trains, in a model of `num_layers` layers."""
        return True

    def reads(self, num_layers: int) -> int | None:
        """The layer whose output the losses read (`AnswerPredictions.hidden_ND`); nothing above runs. None: logits."""
        return None

    def attack(self, num_layers: int) -> LatentAttack | None:
        """The shift under which the forget sequences pass the model in training; None for none."""
        return None

    @property
    def sharpness(self) -> float:
        """How far a step climbs its own loss before it takes its gradient there (Foret et al. 2020, arXiv
        2010.01412), as a norm of all weights together; 0: not at all."""
        return 0.0

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        """What follows what; their steps add up to `steps`. Only this method's own `prepare` is called."""
        return (Phase(self),)

    def supports(self, model: PreTrainedModel) -> str | None:
        """None, or the reason this method cannot work on `model`."""
        return None

    def prepare(self, context: Context) -> None:
        """Called once before the first step; must leave the weights unchanged."""

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        """The losses of one step; the loop owns backward, clipping, the optimiser and logging."""
        raise NotImplementedError

    def combine(self, forget: list[torch.Tensor], retain: list[torch.Tensor]) -> list[torch.Tensor]:
        """The gradient to step along, from those of the forget and the retain loss, per parameter."""
        raise NotImplementedError

    def after_backward(self, context: Context) -> None:
        """Called before each optimiser step, with the clipped gradients in `context.parameters`."""

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        """Called after each optimiser step (dual variables, schedules)."""

    def rate_factor(self, context: Context) -> float:
        """What the scheduled learning rate of the next step is multiplied by."""
        return 1.0

    def finalise(self, context: Context) -> Artifact:
        """The artifact, applied to the model; by default what the steps came to."""
        return context.trained()


@dataclass(frozen=True)
class Edit(Method):
    """A method without gradient steps: it edits weights unit by unit, or none at all (a front)."""

    adapter: ClassVar[str | None] = "none"

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


def check(item: Parameter, value: Any) -> None:
    """Raise InputError unless `value` fits the parameter's type, range and choices."""
    wanted = f"Use {_range(item)}."
    types = (float, int) if item.type is float else (item.type,)  # exact: True is no number here
    fits = type(value) in types and value == value  # NaN differs from itself
    usual = item.name, "default"
    if not fits:
        raise InputError(item.name, value, f"is not a {_KIND[item.type]}", wanted, usual)
    if item.choices and value not in item.choices:
        raise InputError(item.name, value, "is not one of the choices", wanted, usual)
    below = item.minimum is not None and value < item.minimum
    if below or (item.maximum is not None and value > item.maximum):
        raise InputError(item.name, value, "is out of range", wanted, usual)


def parse(item: Parameter, text: str) -> Any:
    """The value written in `text` (a flag, a form field), or InputError."""
    try:
        if item.type is bool:
            return _BOOLS[text.strip().lower()]
        return item.type(text)
    except (ValueError, KeyError, OverflowError):
        raise InputError(item.name, text, f"is not a {_KIND[item.type]}", f"Use {_range(item)}.") from None


_BOOLS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_KIND = {float: "number", int: "whole number", str: "word", bool: "yes or no"}


def _range(item: Parameter) -> str:
    if item.choices:
        return "one of " + ", ".join(item.choices)
    if item.type is bool:
        return "true or false"
    if item.minimum is None and item.maximum is None:
        return f"a {_KIND[item.type]}"
    return f"a {_KIND[item.type]} from {item.minimum:g} to {item.maximum:g}"
