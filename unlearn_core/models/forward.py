"""One teacher-forced pass that sends only labelled positions through the output head.

With a vocabulary of 50,304 the head dominates memory; prompts and padding never need it, and where the
logits of all labelled positions would still be large, losses go through them a block at a time.
Legend: B sequences, T positions, N labelled positions laid end to end, D hidden, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unlearn_core.data.encode import IGNORED, Batch
from unlearn_core.models import team
from unlearn_core.models.front import front_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Settings by which an architecture changes its logits after the head; such models take the full pass.
_LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling")
BLOCK_BYTES = 128 * 2**20  # float32 logits in memory at a time where they are not held in full


@dataclass(frozen=True)
class Unheaded:
    """Hidden states (n, D) just below the output head: of all N positions, or of this process's share.

    Process r of a team has the positions `bounds[r]` to `bounds[r + 1]`; what is asked for comes back for
    all N, with a slope for its own.
    """

    hidden_ND: torch.Tensor
    head: Callable[[torch.Tensor], torch.Tensor]
    bounds: tuple[int, ...]

    @property
    def own(self) -> slice:
        """The positions whose hidden states are here."""
        return slice(self.bounds[team.rank()], self.bounds[team.rank() + 1])

    def __getitem__(self, at_N: torch.Tensor) -> Unheaded:
        """The positions where `at_N` is True."""
        bounds = tuple(int(at_N[:bound].sum()) for bound in self.bounds)
        return Unheaded(self.hidden_ND[at_N[self.own]], self.head, bounds)

    @cached_property
    def logits_NV(self) -> torch.Tensor:
        return team.gather_rows(self.head(self.hidden_ND), self.bounds)

    def nll(self, labels_N: torch.Tensor) -> torch.Tensor:
        """NLL (N,) of the labels in nats; no more than BLOCK_BYTES of logits exist at a time.

        The backward pass computes each block again: one head's forward more, against N x V values kept.
        """
        labels_n = labels_N[self.own]
        vocabulary = getattr(self.head, "out_features", None) or self.hidden_ND.shape[1]
        size = max(1, BLOCK_BYTES // (4 * vocabulary))
        blocks = zip(self.hidden_ND.split(size), labels_n.split(size), strict=True)
        nll_n = torch.cat([checkpoint(self._nll, *block, use_reentrant=False) for block in blocks])
        return team.gather_rows(nll_n, self.bounds)

    def _nll(self, hidden_ND: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(self.head(hidden_ND).float(), labels_N, reduction="none")


@dataclass(frozen=True)
class Answers:
    """Next-token predictions at the labelled positions of some rows, from one forward pass.

    `row_N` numbers the sequence (0..B-1) each position belongs to; `index_B` the dataset row of each
    sequence.
    """

    prediction: torch.Tensor | Unheaded  # the logits (N, V), or what gives them on demand
    labels_N: torch.Tensor
    row_N: torch.Tensor
    index_B: torch.Tensor

    @property
    def logits_NV(self) -> torch.Tensor:
        """All logits (N, V); `token_nll` does without them where they are large."""
        return self.prediction if isinstance(self.prediction, torch.Tensor) else self.prediction.logits_NV

    @property
    def num_rows(self) -> int:
        return int(self.index_B.shape[0])

    @property
    def hidden_ND(self) -> torch.Tensor:
        """The same values, for a pass that ended at a layer: its hidden states in place of the logits."""
        return self.logits_NV

    def rows(self, start: int, stop: int) -> Answers:
        """The part that belongs to sequences `start` to `stop`, renumbered from 0."""
        inside_N = (self.row_N >= start) & (self.row_N < stop)
        return Answers(
            self.prediction[inside_N], self.labels_N[inside_N], self.row_N[inside_N] - start,
            self.index_B[start:stop],
        )  # fmt: skip

    def only(self, keep_B: torch.Tensor) -> Answers:
        """The sequences where `keep_B` is True, renumbered."""
        inside_N = keep_B[self.row_N]
        number_B = keep_B.cumsum(0) - 1
        return Answers(
            self.prediction[inside_N], self.labels_N[inside_N], number_B[self.row_N[inside_N]],
            self.index_B[keep_B],
        )  # fmt: skip


def answers(model: PreTrainedModel, batch: Batch) -> Answers:
    """Predictions of `model` at the labelled positions of a right-padded batch."""
    hidden_ND, head, labels_N, row_N = unheaded(model, batch)
    return Answers(head(hidden_ND), labels_N, row_N, batch.index_B)


def unheaded(
    model: PreTrainedModel, batch: Batch
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor], torch.Tensor, torch.Tensor]:
    """Hidden states (N, D) at the labelled positions, the head to put on them, labels (N,), rows (N,).

    Where a model changes its logits after the head, those are the hidden states and the head is nothing.
    """
    # Position t predicts the token at t + 1, so label t + 1 selects hidden state t.
    labels_BT = batch.labels_BT[:, 1:]
    wanted_BT = labels_BT != IGNORED
    # No mask: padding is on the right, where no real position looks, and plain causal attention is faster.
    inputs = {"input_ids": batch.input_ids_BT, "use_cache": False}
    split = body_and_head(model)
    if split is None:
        states_BTD = unwrap(model)(**inputs).logits
        head: torch.nn.Module = torch.nn.Identity()
    else:
        states_BTD, head = split[0](**inputs).last_hidden_state, split[1]
    return states_BTD[:, :-1][wanted_BT], head, labels_BT[wanted_BT], wanted_BT.nonzero()[:, 0]


def body_and_head(model: PreTrainedModel) -> tuple[torch.nn.Module, torch.nn.Module] | None:
    """The layers below the output head and the head; None where logits are changed after the head."""
    inner = unwrap(model)
    config = inner.config.get_text_config()
    head = inner.get_output_embeddings()
    body = getattr(inner, inner.base_model_prefix, None)
    if getattr(inner, "gives_hidden_states", False):  # sharded: its hooks want the whole model called
        body = inner
    changed = front_of(inner).combines or any(getattr(config, name, None) for name in _LOGIT_SETTINGS)
    if body is None or head is None or changed:
        return None
    return body, head


def num_layers(model: PreTrainedModel) -> int:
    """Decoder layers of the model."""
    return int(model.config.get_text_config().num_hidden_layers)


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The decoder layers, bottom first."""
    inner = unwrap(model)
    body = getattr(inner, inner.base_model_prefix)
    count = num_layers(model)
    return next(
        child for child in body.children() if isinstance(child, torch.nn.ModuleList) and len(child) == count
    )


def layer_of(name: str) -> int | None:
    """The layer a parameter belongs to, by its name; None for embeddings, last norm and head."""
    found = re.search(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{name}")
    return int(found[1]) if found else None


def unwrap(model: Any) -> PreTrainedModel:
    """The transformers model inside a peft wrapper (its adapter layers stay in place), or the model."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def token_nll(part: Answers) -> torch.Tensor:
    """NLL (N,) of each labelled token in nats, computed in float32."""
    if isinstance(part.prediction, Unheaded):
        return part.prediction.nll(part.labels_N)
    return F.cross_entropy(part.logits_NV.float(), part.labels_N, reduction="none")


def sum_per_row(values_N: torch.Tensor, part: Answers) -> torch.Tensor:
    """Sums (B,) of per-token values over each sequence."""
    zeros_B = values_N.new_zeros(part.num_rows)
    return zeros_B.index_add(0, part.row_N, values_N)


def tokens_per_row(part: Answers) -> torch.Tensor:
    """Labelled tokens (B,) of each sequence, at least 1 so that it can divide."""
    return torch.bincount(part.row_N, minlength=part.num_rows).clamp(min=1)


def mean_per_row(values_N: torch.Tensor, part: Answers) -> torch.Tensor:
    """Means (B,) of per-token values over each sequence."""
    return sum_per_row(values_N, part) / tokens_per_row(part)
