"""One teacher-forced pass over rows or documents, from which every likelihood metric is read.

Legend: T labelled tokens of one sequence, N of a batch, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

from unlearn_core.data.encode import Batch, Encoded, collate, shortened
from unlearn_core.models.inference.forward import device_of, unheaded, unwrap
from unlearn_core.models.inference.frozen_bottom import begun_above
from unlearn_core.models.inference.positions import max_positions
from unlearn_core.models.inference.side_by_side import in_turns

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TOKENS_PER_BATCH = {"cpu": 2048, "cuda": 65536}
# Logits (values) in memory at a time: on a CPU few enough to stay in its cache.
LOGITS_PER_BLOCK = {"cpu": 1 << 20, "cuda": 1 << 27}
LEAST_LOG_P = -1e3  # log p of what has no probability in float32
ROWS_PER_BLOCK = 128  # at least: a product with fewer rows is slow, whatever the vocabulary


@dataclass(frozen=True)
class TokenTrace:
    """What the model thought of each labelled token of one sequence. Log-probabilities in nats.

    `mean_T` and `std_T` are the mean and standard deviation of log p over the vocabulary, weighted by p
    itself (what min-k++ normalises by); empty unless asked for.
    """

    index: int
    log_prob_T: np.ndarray
    is_top_T: np.ndarray  # whether the token was the model's first choice
    mean_T: np.ndarray
    std_T: np.ndarray

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per token (nats); NaN for a sequence without targets."""
        return float(-self.log_prob_T.mean(dtype=np.float64)) if len(self.log_prob_T) else float("nan")

    def head(self, num_tokens: int) -> TokenTrace:
        """The first `num_tokens` tokens."""
        parts = (self.log_prob_T, self.is_top_T, self.mean_T, self.std_T)
        return TokenTrace(self.index, *(part[:num_tokens] for part in parts))


def traces(
    model: PreTrainedModel,
    rows: Sequence[Encoded],
    pad_id: int,
    *,
    moments: bool = False,
    batch_tokens: int | None = None,
) -> Iterator[list[TokenTrace]]:
    """Traces of `rows`, one padded batch at a time, longest first; `index` is the place in `rows`.

    A row of more tokens than the model has positions loses the front of its prompt, then the end of its answer.
    """
    device = device_of(model)
    limit = max_positions(unwrap(model))
    rows = [shortened(row, limit) for row in rows]
    budget = batch_tokens or TOKENS_PER_BATCH["cpu" if device.type == "cpu" else "cuda"]
    order = sorted(range(len(rows)), key=lambda place: -len(rows[place].ids))
    batches: list[list[int]] = []
    while order:
        number = max(1, budget // max(1, len(rows[order[0]].ids)))
        batches.append(order[:number])
        del order[:number]
    longest = max((len(row.ids) for row in rows), default=0)
    halves = [(_batch_traces(model, rows, batch, pad_id, moments) for batch in batches[at::2]) for at in (0, 1)]
    yield from in_turns(model, halves, longest)


def all_traces(
    model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int, *, moments: bool = False
) -> list[TokenTrace]:
    """`traces` to the end, in the order of `rows`."""
    found = [trace for batch in traces(model, rows, pad_id, moments=moments) for trace in batch]
    return sorted(found, key=lambda trace: trace.index)


@torch.inference_mode()
def _batch_traces(
    model: PreTrainedModel, rows: Sequence[Encoded], places: list[int], pad_id: int, moments: bool
) -> list[TokenTrace]:
    targeted = [place for place in places if rows[place].num_targets > 0]
    empty = np.empty(0, dtype=np.float32)
    found = {place: TokenTrace(place, empty, empty.astype(bool), empty, empty) for place in places}
    if targeted:
        batch = collate([rows[place] for place in targeted], pad_id).to(device_of(model))
        columns = _columns(model, batch, moments)
        bounds = np.cumsum([rows[place].num_targets for place in targeted])[:-1]
        parts = [np.split(column, bounds) if len(column) else None for column in columns]
        for i, place in enumerate(targeted):
            found[place] = TokenTrace(place, *(empty if part is None else part[i] for part in parts))
    return [found[place] for place in places]


def _columns(model: PreTrainedModel, batch: Batch, moments: bool) -> list[np.ndarray]:
    """log p, first choice, and the two moments over the vocabulary, each (N,) or empty."""
    with begun_above(model, batch):
        hidden_ND, head, labels_N, _ = unheaded(model, batch)
    vocabulary = int(model.config.get_text_config().vocab_size)
    limit = LOGITS_PER_BLOCK["cpu" if hidden_ND.device.type == "cpu" else "cuda"]
    size = max(ROWS_PER_BLOCK, limit // vocabulary)
    blocks = zip(hidden_ND.split(size), labels_N.split(size), strict=True)
    found = [token_columns(head(hidden_nD), labels_n, moments) for hidden_nD, labels_n in blocks]
    return [torch.cat(column).cpu().numpy() for column in zip(*found, strict=True)]


def token_columns(logits_NV: torch.Tensor, labels_N: torch.Tensor, moments: bool) -> list[torch.Tensor]:
    """log p, first choice, and the two moments over the vocabulary of each labelled token, each (N,) or empty."""
    logits_NV = logits_NV.float()
    top_N = logits_NV.argmax(-1) == labels_N
    if not moments:
        log_prob_N = -F.cross_entropy(logits_NV, labels_N, reduction="none")
        return [log_prob_N, top_N, log_prob_N[:0], log_prob_N[:0]]
    log_probs_NV = logits_NV.log_softmax(-1)
    log_prob_N = log_probs_NV.gather(-1, labels_N[:, None])[:, 0]
    mean_N, variance_N = moments_of_log_p(log_probs_NV)
    return [log_prob_N, top_N, mean_N, variance_N.clamp(min=1e-6).sqrt()]


def moments_of_log_p(log_probs_NV: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance (N,) of log p over the vocabulary, weighted by p itself."""
    probs_NV = log_probs_NV.exp()
    known_NV = log_probs_NV.clamp(min=LEAST_LOG_P)  # p log p is 0 where p is 0, although log p may be -inf there
    mean_N = (probs_NV * known_NV).sum(-1)
    return mean_N, (probs_NV * known_NV.square()).sum(-1) - mean_N.square()
