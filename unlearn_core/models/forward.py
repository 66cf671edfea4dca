"""One teacher-forced pass that sends only labelled positions through the output head.

With a vocabulary of 50,304 the head dominates memory; prompts and padding never need it.
Legend: B sequences, T positions, N labelled positions laid end to end, D hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from unlearn_core.data.encode import IGNORED, Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Settings by which an architecture changes its logits after the head; such models take the full pass.
_LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling")


@dataclass(frozen=True)
class Answers:
    """Next-token predictions at the labelled positions of some rows, from one forward pass.

    `row_N` numbers the sequence (0..B-1) each position belongs to; `index_B` the dataset row of each
    sequence.
    """

    logits_NV: torch.Tensor
    labels_N: torch.Tensor
    row_N: torch.Tensor
    index_B: torch.Tensor

    @property
    def num_rows(self) -> int:
        return int(self.index_B.shape[0])

    def rows(self, start: int, stop: int) -> Answers:
        """The part that belongs to sequences `start` to `stop`, renumbered from 0."""
        inside_N = (self.row_N >= start) & (self.row_N < stop)
        return Answers(
            self.logits_NV[inside_N], self.labels_N[inside_N], self.row_N[inside_N] - start,
            self.index_B[start:stop],
        )  # fmt: skip

    def only(self, keep_B: torch.Tensor) -> Answers:
        """The sequences where `keep_B` is True, renumbered."""
        inside_N = keep_B[self.row_N]
        number_B = keep_B.cumsum(0) - 1
        return Answers(
            self.logits_NV[inside_N], self.labels_N[inside_N], number_B[self.row_N[inside_N]],
            self.index_B[keep_B],
        )  # fmt: skip


def answers(model: PreTrainedModel, batch: Batch) -> Answers:
    """Predictions of `model` at the labelled positions of a right-padded batch."""
    # Position t predicts the token at t + 1, so label t + 1 selects hidden state t.
    labels_BT = batch.labels_BT[:, 1:]
    wanted_BT = labels_BT != IGNORED
    row_N = wanted_BT.nonzero()[:, 0]
    logits_NV = _wanted_logits(model, batch, wanted_BT)
    return Answers(logits_NV, labels_BT[wanted_BT], row_N, batch.index_B)


def _wanted_logits(model: PreTrainedModel, batch: Batch, wanted_BT: torch.Tensor) -> torch.Tensor:
    inputs = {"input_ids": batch.input_ids_BT, "attention_mask": batch.attention_mask_BT, "use_cache": False}
    split = body_and_head(model)
    if split is None:
        return unwrap(model)(**inputs).logits[:, :-1][wanted_BT]
    body, head = split
    hidden_BTD = body(**inputs).last_hidden_state
    return head(hidden_BTD[:, :-1][wanted_BT])


def body_and_head(model: PreTrainedModel) -> tuple[torch.nn.Module, torch.nn.Module] | None:
    """The layers below the output head and the head; None where logits are changed after the head."""
    inner = unwrap(model)
    config = inner.config.get_text_config()
    head = inner.get_output_embeddings()
    body = getattr(inner, inner.base_model_prefix, None)
    if body is None or head is None or any(getattr(config, name, None) for name in _LOGIT_SETTINGS):
        return None
    return body, head


def unwrap(model: Any) -> PreTrainedModel:
    """The transformers model inside a peft wrapper (its adapter layers stay in place), or the model."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def token_nll(part: Answers) -> torch.Tensor:
    """NLL (N,) of each labelled token in nats, computed in float32."""
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
