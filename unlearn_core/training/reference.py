"""The model before the first step, remembered in numbers or by switching the adapter off.

A second resident model is never needed: a scalar per sequence serves NPO; for KL the log-probabilities
of the rows that the steps will visit are stored once (full weights), or recomputed with the adapter
switched off (LoRA). Legend: R rows of a part, N labelled positions, V vocabulary, K kept tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import RowPart
from unlearn_core.methods.losses import bucket_kl_divergence, kl_divergence
from unlearn_core.models.inference.forward import AnswerPredictions, sum_per_row, token_nll
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import CHUNK, forward, predict_in_chunks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DENSE_BYTES = 512 * 2**20  # stored in full up to this size, beyond it as the likeliest tokens
KEPT = 128  # tokens kept per position beyond it; their share of the probability is nearly all of it
TEMPERATURES = (1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0)
MOST_CALIBRATED = 0.1  # nats per token that a temperature may take off the targets' NLL


class FrozenReference:
    """Reference values of a run (see `methods.context.ReferenceModel`).

    `visited(part)` lists the rows that the steps will draw on. `adapter_off` switches the adapter off for
    the length of a `with`; None where the weights themselves are trained. In that case `nll` and `keep`
    must be called before the first step.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        parts: dict[str, RowPart],
        pad_id: int,
        visited: Callable[[str], list[int]],
        adapter_off: Callable[[], AbstractContextManager[None]] | None = None,
        dense_bytes: int = DENSE_BYTES,
        layer: int | None = None,
    ) -> None:
        self._model, self._parts, self._pad_id = model, parts, pad_id
        self._visited, self._adapter_off, self._dense_bytes = visited, adapter_off, dense_bytes
        self._layer = layer  # set where the method reads its output: then `keep` keeps that
        self._nll: dict[str, torch.Tensor] = {}
        self._stored: dict[str, _Stored] = {}
        self._temperature: dict[str, float] = {}
        self.frozen = False  # set by the loop before the first step

    @torch.no_grad()
    def nll(self, part: str) -> torch.Tensor:
        """NLL (R,) of each row of a part, summed over its targets, in nats; computed once."""
        if part not in self._nll:
            assert not self.frozen, f"ask for the reference NLL of {part} in prepare"
            rows = self._parts[part].rows
            nll_R = torch.zeros(len(rows), device=self._model.device)
            for answers in predict_in_chunks(self._model, rows, self._pad_id):
                nll_R[answers.index_B] = sum_per_row(token_nll(answers), answers)
            self._nll[part] = nll_R
        return self._nll[part]

    @torch.no_grad()
    def keep(self, part: str, calibrated: bool = False, stored: bool = False) -> None:
        """Announce that `kl`, `log_probs` or `hidden` of a part will be asked for (see `methods.context`)."""
        if part not in self._parts:
            return
        assert not self.frozen, f"keep {part} in prepare"
        rows = [self._parts[part].rows[row] for row in self._visited(part)]
        if calibrated:
            self._temperature[part] = self._likeliest_temperature(rows)
        if self._adapter_off is None or stored:
            top = self._kept_tokens(rows) if self._layer is None else None
            kept = self._stored[part] = _Stored(top)
            for answers in predict_in_chunks(self._model, rows, self._pad_id, self._layer):
                for row, values_NV in _by_row(answers):
                    kept.add(row, self._as_kept(part, values_NV))

    def _as_kept(self, part: str, values_NV: torch.Tensor) -> torch.Tensor:
        """Hidden states as they are, logits as log-probabilities at the part's temperature."""
        if self._layer is not None:
            return values_NV
        temperature = self._temperature.get(part)
        return _log_probs(values_NV if temperature is None else values_NV / temperature)

    def _likeliest_temperature(self, rows: Sequence[Encoded]) -> float:
        """The one of TEMPERATURES at which the targets of a sample of the rows have the least NLL, of those that take
        at most MOST_CALIBRATED off it: a model that has learnt its training text by heart says of other text what
        is nats from likely, and would say so too had it learnt less of it."""
        sums, count = [0.0] * len(TEMPERATURES), 0
        for answers in predict_in_chunks(self._model, rows[:: -(-len(rows) // CHUNK)], self._pad_id):
            count += len(answers.labels_N)
            for place, temperature in enumerate(TEMPERATURES):
                log_probs_NV = _log_probs(answers.logits_NV / temperature)
                sums[place] -= float(log_probs_NV.gather(1, answers.labels_N[:, None]).sum())
        allowed = [place for place, total in enumerate(sums) if sums[0] - total <= MOST_CALIBRATED * count]
        return TEMPERATURES[min(allowed, key=sums.__getitem__)]

    @torch.no_grad()
    def distil(
        self,
        part: str,
        teachers: Mapping[int, Sequence[Encoded]],
        adjusted: Callable[[int, torch.Tensor], torch.Tensor],
    ) -> None:
        """Store, for some rows, the mean prediction at the targets of their teachers (see `methods.context`)."""
        assert not self.frozen, f"distil {part} in prepare"
        rows = sorted(set(self._visited(part)) & set(teachers))
        stored = self._stored[part] = _Stored(self._kept_tokens([teachers[row][0] for row in rows]))
        for at in range(0, len(rows), CHUNK):
            found: dict[int, list[torch.Tensor]] = {}
            copies = [replace(copy, index=row) for row in rows[at : at + CHUNK] for copy in teachers[row]]
            for answers in predict_in_chunks(self._model, copies, self._pad_id):
                for row, logits_NV in _by_row(answers):
                    found.setdefault(row, []).append(_log_probs(logits_NV))
            for row, each in found.items():
                stored.add(row, adjusted(row, torch.stack(each).logsumexp(0) - math.log(len(each))))

    def _kept_tokens(self, rows: Sequence[Encoded]) -> int | None:
        row_bytes = 4 * self._model.config.get_text_config().vocab_size
        num_bytes = row_bytes * sum(row.num_targets for row in rows)
        return None if num_bytes <= self._dense_bytes else KEPT

    def kl(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """KL(reference || current) (N,) at each labelled position, in nats.

        Where only the likeliest tokens were kept, the rest counts as one outcome: a lower bound of the KL
        that is 0 exactly where the KL on the kept tokens and on the rest is.
        """
        if part in self._stored:
            return self._stored[part].kl(answers)
        return kl_divergence(self._switched_off(part, answers), answers.logits_NV)

    def log_probs(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        """Reference log-probabilities (N, V); what was not kept is spread evenly over the other tokens."""
        return self._stored[part].log_probs(answers) if part in self._stored else self._switched_off(part, answers)

    hidden = log_probs  # (N, D), where `keep` keeps those of the layer that the method reads

    def _switched_off(self, part: str, answers: AnswerPredictions) -> torch.Tensor:
        assert self._adapter_off is not None
        rows = [self._parts[part].rows[row] for row in answers.host.rows]
        with torch.no_grad(), self._adapter_off():
            values_NV = forward(self._model, pack_parts(self._model, {"": rows}, self._pad_id), self._layer)
        return self._as_kept(part, values_NV)


def _by_row(answers: AnswerPredictions) -> Iterator[tuple[int, torch.Tensor]]:
    """Each sequence's dataset row and its logits (n, V), or hidden states (n, D); where the logits of all are large,
    those of one sequence at a time."""
    prediction, (rows, sizes) = answers.prediction, answers.host
    if isinstance(prediction, torch.Tensor):
        yield from zip(rows, prediction.split(sizes), strict=True)
        return
    for row, (start, stop) in zip(rows, pairwise(accumulate(sizes, initial=0)), strict=True):
        yield row, prediction.part(start, stop).logits_NV


def _log_probs(logits_NV: torch.Tensor) -> torch.Tensor:
    return logits_NV.float().log_softmax(-1)


class _Stored:
    """Values at the labelled positions of some rows: log-probabilities, all or the `top` likeliest, or
    hidden states."""

    def __init__(self, top: int | None) -> None:
        self._values: dict[int, torch.Tensor] = {}  # row -> (n, V), or (n, K)
        self._tokens: dict[int, torch.Tensor] = {}  # row -> (n, K)
        self._top = top

    def add(self, row: int, log_probs_NV: torch.Tensor) -> None:
        if self._top is None:
            self._values[row] = log_probs_NV
        else:
            top = min(self._top, log_probs_NV.shape[1])
            self._values[row], self._tokens[row] = log_probs_NV.topk(top)

    def kl(self, answers: AnswerPredictions) -> torch.Tensor:
        values = self._gather(self._values, answers)
        if self._top is None:
            return kl_divergence(values, answers.logits_NV)
        return bucket_kl_divergence(values, self._gather(self._tokens, answers), answers.logits_NV)

    def log_probs(self, answers: AnswerPredictions) -> torch.Tensor:
        values = self._gather(self._values, answers)
        if self._top is None:
            return values
        num_tokens = answers.logits_NV.shape[1]
        rest_N1 = (1 - values.exp().sum(-1, keepdim=True)).clamp(min=1e-9)
        spread_NV = (rest_N1 / max(1, num_tokens - values.shape[1])).log().expand(-1, num_tokens)
        return spread_NV.scatter(1, self._gather(self._tokens, answers), values)

    def _gather(self, stored: dict[int, torch.Tensor], answers: AnswerPredictions) -> torch.Tensor:
        return torch.cat([stored[row] for row in answers.host.rows])
