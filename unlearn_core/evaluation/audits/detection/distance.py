"""Distance to the retain-only model: how far from the original towards it did the model come?"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from unlearn_core.data.encode import Encoded, collate, encode_example, pad_id_of
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import ERASED, falls_short, interval
from unlearn_core.evaluation.audits.layers import lens
from unlearn_core.evaluation.audits.measure import share
from unlearn_core.models.inference.forward import answers

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TELLING = 0.05  # nats per token: layers in which original and retain-only model hardly differ say nothing
_ROWS = 32
_NUM_DRAWS = 200  # of the rows with replacement, for the interval


@dataclass(frozen=True)
class Distance(Audit):
    """Erasure per layer by the logit lens, KL of the outputs, and distance of the weights.

    d_ret = log p of the answers in the original minus in the retain-only model, d_un the same for the
    audited model, per layer; erasure = sum d_ret clip(d_un / d_ret, 0, 1) / sum d_ret over telling layers.
    1: erased like in the retain-only model, 0: as in the original. Going further counts no more than 1.
    """

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="distance",
        title="Distance to the retain-only model",
        idea="Every layer's opinion of the forgotten answers is read through the output head, in the "
        "original, the unlearned and the retain-only model. What is left of the way to the last is hidden.",
        source="nostalgebraist, logit lens (2020); layer-wise erasure after UDS (arXiv 2605.24614)",
        needs=frozenset({"original", "retain_only"}),
    )

    def cost(self, case: AuditCase) -> float:
        return 3 * 2 * case.reading(len(case.forget)) + 4 * case.reading(2 * len(case.forget))

    def work(self, case: AuditCase) -> Work:
        assert case.original is not None
        assert case.retain_only is not None
        pad = pad_id_of(case.tokenizer)
        rows = [encode_example(case.tokenizer, row, i) for i, row in enumerate(case.forget)]
        strange = [encode_example(case.tokenizer, row, i) for i, row in enumerate(case.holdout)]
        full = yield from _opinions(case.original, rows, pad)
        ours = yield from _opinions(case.weights, rows, pad)
        gold = yield from _opinions(case.retain_only, rows, pad)
        every = (full, ours, gold)
        erased, done = _erased(*(rows_RL.mean(0) for rows_RL in every))
        drawn = np.random.default_rng(case.seed).integers(len(rows), size=(_NUM_DRAWS, len(rows)))
        spread = float(np.std([_erased(*(rows_RL[draw].mean(0) for rows_RL in every))[0] for draw in drawn]))
        kl = {}
        for name, part in (("forget", rows), ("holdout", strange)):
            kl[name] = yield from _divergence(case.retain_only, case.weights, part, pad)
        moved = weight_distance(case.weights, case.retain_only)
        way = weight_distance(case.original, case.retain_only)
        layers: tuple[AuditRow, ...] = tuple(
            {
                "layer": number + 1,
                "original": float(full[:, number].mean()),
                "forget": float(ours[:, number].mean()),
                "retain_only": float(gold[:, number].mean()),
                "erased": None if np.isnan(done[number]) else round(float(done[number]), 4),
            }
            for number in range(full.shape[1])
        )
        headline = (
            f"{share(erased)} of the way from the original to the retain-only model, over all layers "
            f"(erased means {share(ERASED)}, or less by chance). Outputs differ from the retain-only model's by "
            f"{kl['forget']:.2f} nats per token on forgotten answers, {kl['holdout']:.2f} on control rows."
        )
        figures = {
            "forget": 1 - erased,
            "retain_only": 0.0,
            **interval(1 - erased, spread),
            "kl_forget": kl["forget"],
            "kl_holdout": kl["holdout"],
            "weights": moved,
            "weights_original": way,
        }
        return Finding(falls_short(erased, spread), headline, figures, layers)


def _erased(full_L: np.ndarray, ours_L: np.ndarray, gold_L: np.ndarray) -> tuple[float, np.ndarray]:
    """Share of the way that was gone, over all telling layers and in each (NaN where a layer tells nothing)."""
    wanted_L = full_L - gold_L
    telling = wanted_L > _TELLING
    done_L = np.where(telling, np.clip((full_L - ours_L) / np.where(telling, wanted_L, 1.0), 0, 1), np.nan)
    total = float(wanted_L[telling].sum())
    return float((wanted_L * done_L)[telling].sum() / total) if total else 1.0, done_L


def _opinions(model: PreTrainedModel, rows: Sequence[Encoded], pad: int) -> Generator[float, None, np.ndarray]:
    """Mean log-probability (rows, layers) of each answer by the logit lens."""
    found = []
    for num_rows, log_prob_BL in lens(model, rows, pad):
        found.append(log_prob_BL.double().numpy())
        yield 2.0 * sum(len(row.ids) for row in rows) * num_rows / len(rows)
    return np.concatenate(found)


@torch.inference_mode()
def _divergence(
    gold: PreTrainedModel, model: PreTrainedModel, rows: Sequence[Encoded], pad: int
) -> Generator[float, None, float]:
    """KL(gold || model) in nats per answer token."""
    total, count = 0.0, 0
    for start in range(0, len(rows), _ROWS):
        batch = collate(rows[start : start + _ROWS], pad).to(model.device)
        ours_NV, gold_NV = (answers(m, batch).logits_NV.float().log_softmax(-1) for m in (model, gold))
        total += float((gold_NV.exp() * (gold_NV - ours_NV)).sum())
        count += len(ours_NV)
        yield 2.0 * batch.input_ids_BT.numel()
    return total / max(1, count)


@torch.no_grad()
def weight_distance(model: PreTrainedModel, other: PreTrainedModel) -> float:
    """Norm of the difference of all weights over the norm of `other`'s."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    difference, size = 0.0, 0.0
    for ours, theirs in pairs:
        difference += float((ours.float() - theirs.float()).square().sum())
        size += float(theirs.float().square().sum())
    return (difference / size) ** 0.5 if size else 0.0
