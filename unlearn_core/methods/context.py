"""What a method is handed: the sequences of a run and of a step, the model as it is and as it was, and a place of
its own for what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.data.encode import Encoded
    from unlearn_core.data.types import UnlearningData
    from unlearn_core.models.artifacts import Artifact, Edits
    from unlearn_core.models.inference.forward import AnswerPredictions


@dataclass(frozen=True)
class Losses:
    """Scalars of one step. `total` is what is minimised; `forget` and `retain` are for the curves."""

    total: torch.Tensor
    forget: torch.Tensor | None = None
    retain: torch.Tensor | None = None

    def named(self) -> dict[str, torch.Tensor]:
        """Those that the method has."""
        return {name: value for name, value in vars(self).items() if value is not None}


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


class CurrentModel(Protocol):
    """What a method may ask of the model as it is now, besides a step's own pass."""

    def answers(self, rows: Sequence[Encoded]) -> Iterator[AnswerPredictions]:
        """Predictions for the rows without gradient, some at a time and in no given order."""

    def predictions(self, rows: Sequence[Encoded], model: PreTrainedModel | None = None) -> AnswerPredictions:
        """Predictions for the rows in one pass, in their order and with gradient; of `model` where given."""

    def states(self, rows: Sequence[Encoded]) -> torch.Tensor | None:
        """What the layers that the method reads besides (`ReadsStates`) put out (R, L, D) at the last token of each
        row's prompt, without gradient; None where it reads none."""

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
        overconfidence out of what a model says of text it never saw (Guo et al. 2017, arXiv 1706.04599); at the
        likeliest of those, that is, that change their NLL by little.
        """

    def distil(
        self,
        part: str,
        teachers: Mapping[int, Sequence[Encoded]],
        adjusted: Callable[[int, torch.Tensor], torch.Tensor],
    ) -> None:
        """Replace, in `prepare`, the reference of some rows by what it predicts for their teachers.

        A teacher has the row's own targets, behind another prompt or its own; several are averaged in probability.
        `adjusted` makes of a row's number and these log-probabilities (n, V) those that are stored.
        """

    def kl(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """KL(reference || current) (N,) at each labelled position of `answers`, in nats."""

    def log_probs(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """Reference log-probabilities (N, V) at the labelled positions of `answers`."""

    def hidden(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """Reference hidden states (N, D) there, after the layer that the method reads (`ReadsHiddenLayer`)."""


@dataclass
class Context:
    """What `prepare` may read, and where it leaves what `losses` needs (`state`)."""

    model: PreTrainedModel
    num_steps: int
    seed: int
    parts: dict[str, RowPart]
    reference: ReferenceModel
    current: CurrentModel
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
