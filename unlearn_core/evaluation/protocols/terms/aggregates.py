"""From per-row values to terms: the formulas that TOFU, MUSE and their successors share.

Each equals open-unlearning's (arXiv 2506.12618, commit d3d7cf9) to the last digit on its own per-row values,
down to the order and the width in which numbers are added. Arrays are over rows, in the order of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.metrics.rouge import rouge_l

Losses = float | Sequence[float]  # of one row: its wrong answer, or each of several
EPSILON = 1e-10
# Attack scores that open-unlearning holds, and therefore averages, as 32-bit numbers.
_SINGLE = ("mia_min_k", "mia_min_k_plus_plus", "mia_gradnorm")


def mean(values: Sequence[Losses]) -> float | None:
    """The mean over rows; lists are averaged within their row first. None of nothing."""
    if not values:
        return None
    array = np.array(values)
    return float(np.mean(np.mean(array, axis=tuple(range(1, array.ndim)))))


def side_mean(attack: str, scores: Sequence[float]) -> float | None:
    """The mean score of one side of a membership attack."""
    return float(np.mean(np.array(scores, dtype=np.float32 if attack in _SINGLE else float))) if scores else None


def harmonic_mean(values: Sequence[float | None]) -> float | None:
    """`scipy.stats.hmean`: any 0 gives exactly 0; None where one is missing or negative."""
    from scipy.stats import hmean

    present = [value for value in values if value is not None]
    if len(present) < len(values) or not present or min(present) < 0:
        return None
    return float(hmean(present))


def holdout_auc(forget: Sequence[float], holdout: Sequence[float]) -> float | None:
    """Area under the ROC of a membership score, forget = 0 and holdout = 1, higher = less likely a member.

    1 = the forget set is recognised as trained on, near 0 = it is less likely than text never seen. Equals
    scikit-learn's `roc_auc_score` to the last digit.
    """
    return membership.auc([-score for score in holdout], [-score for score in forget])


def privacy_leak(auc: float | None, reference_auc: float) -> float | None:
    """privleak = ((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref) * 100 (MUSE, arXiv 2407.06460, eq. 3).

    Negative = under-unlearned (floor -100), 0 = as the model that never saw the forget set, positive =
    over-unlearned (no fixed ceiling).
    """
    if auc is None:
        return None
    score, reference = 1 - auc, 1 - reference_auc
    return (score - reference) / (reference + EPSILON) * 100


def relative_probabilities(right: Sequence[float], wrong: Sequence[Losses]) -> list[float]:
    """Per row p(right) / (p(right) + sum of p(wrong)), each p per token as exp(-loss)."""
    chosen, others = np.array(right), np.array(wrong)
    total = np.sum(others, axis=tuple(range(1, others.ndim)))
    return [float(value) for value in chosen / (chosen + total + EPSILON)]


def truth_ratios(right_losses: Sequence[float], wrong_losses: Sequence[Losses]) -> list[float]:
    """Per row how likely the wrong answers are beside the right one, from mean token losses (nats):
    exp(-mean of the wrong losses) / exp(-right loss), what open-unlearning reports as TOFU's. TOFU's paper writes the
    mean of exp(-wrong loss) above the line."""
    losses = np.array(wrong_losses)
    likely = np.exp(-np.mean(losses, axis=tuple(range(1, losses.ndim))))
    return [float(value) for value in likely / (np.exp(-np.array(right_losses)) + EPSILON)]


def closer_to_one(ratios: Sequence[float]) -> float | None:
    """mean(min(R, 1/R)) over forget rows. Higher is not better: the retain model's value is the target."""
    array = np.array(ratios)
    return float(np.mean(np.minimum(array, 1 / (array + EPSILON)))) if len(array) else None


def true_better(ratios: Sequence[float]) -> float | None:
    """mean(max(0, 1 - R)) over rows to be kept: 1 when the right answer is far the likelier."""
    array = np.array(ratios)
    return float(np.mean(np.maximum(0, 1 - array))) if len(array) else None


def rouge_values(rows: Iterable[Mapping[str, Any]], key: str, *, stem: bool = True) -> list[float]:
    """`rougeL_recall` or `rougeL_f1` of each row, computed from its texts; the stored figure where it has none."""
    found = []
    for row in rows:
        truth, text = row.get("ground_truth"), row.get("generation")
        if isinstance(truth, str) and isinstance(text, str) and key in ("rougeL_recall", "rougeL_f1"):
            score = rouge_l(truth, text, stem=stem)
            found.append(score.recall if key == "rougeL_recall" else score.fmeasure)
        elif row.get(key) is not None:
            found.append(row[key])
    return found
