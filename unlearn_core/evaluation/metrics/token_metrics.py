"""Measures of memory that are functions of per-token log-probabilities alone. No model is called here.

Notation: answer tokens y_1 .. y_L after prompt x, p_t = p(y_t | x, y_<t); log-probabilities in nats.
Every membership score is signed so that lower means "more like a member".
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_K = 0.4  # share of least likely tokens; 0.4 as OpenUnlearning, 0.2 is common too


def exact_memorisation(is_top_T: np.ndarray) -> float:
    """EM = (1/L) sum_t 1[argmax p(. | x, y_<t) = y_t], 0..1, 1 = every token is the first choice
    (Tirumala et al., arXiv 2205.10770)."""
    return float(is_top_T.mean()) if len(is_top_T) else math.nan


def extraction_strength(is_top_T: np.ndarray, *, floor: bool = False) -> float:
    """ES = 1 - k*/L, k* the shortest prefix after which every further token is the first choice, 0..1
    (Carlini et al., arXiv 2012.07805, in the form of Wang et al., arXiv 2406.09179).

    Equals the share of the answer that greedy continuation reproduces. Where not even the last token is
    matched this is 0; with `floor` it is 1/L there, as open-unlearning has it.
    """
    if not len(is_top_T):
        return math.nan
    wrong = np.flatnonzero(~is_top_T)
    longest_suffix = len(is_top_T) - (int(wrong[-1]) + 1 if len(wrong) else 0)
    return max(longest_suffix, int(floor)) / len(is_top_T)


def truth_ratio(right_nll: float, wrong_nlls: Sequence[float]) -> float:
    """R = P_wrong / P_right with P = exp(-mean token NLL), P_wrong the geometric mean over the wrong answers
    (TOFU, arXiv 2401.06121, as its code computes it). Below 1: the right answer is likelier."""
    return float(np.exp(np.clip(right_nll - float(np.mean(wrong_nlls)), -50.0, 50.0)))


def forget_truth_score(ratios: Sequence[float]) -> float:
    """mean(min(R, 1/R)), 0..1: 1 when right and wrong answers are equally likely, as on unseen facts."""
    return float(np.mean([min(ratio, 1 / ratio) for ratio in ratios])) if ratios else math.nan


def retain_truth_score(ratios: Sequence[float]) -> float:
    """mean(max(0, 1 - R)), 0..1: 1 when the right answer is far likelier than the wrong ones."""
    return float(np.mean([max(0.0, 1 - ratio) for ratio in ratios])) if ratios else math.nan


@dataclass(frozen=True, slots=True)
class KolmogorovSmirnov:
    """Two-sided two-sample test. The p-value's floor is 2 / C(2n, n): compare it within one split only."""

    p_value: float
    statistic: float  # 0..1, 0 = the same distribution
    n: int


def forget_quality(ours: Sequence[float], reference: Sequence[float]) -> KolmogorovSmirnov | None:
    """Whether the truth ratios of two models on the forget set could be of one distribution (TOFU, arXiv
    2401.06121): the p-value is near 1 where they are alike, and above 0.05 what TOFU calls success. None where a
    side is empty or holds what is no number."""
    if not ours or not reference or any(map(math.isnan, [*ours, *reference])):
        return None
    from scipy.stats import ks_2samp

    found = ks_2samp(np.array(ours), np.array(reference))
    return KolmogorovSmirnov(float(found.pvalue), float(found.statistic), len(ours))


def loss_score(log_prob_T: np.ndarray) -> float:
    """Mean token NLL (Yeom et al., arXiv 1709.01604)."""
    return float(-log_prob_T.mean(dtype=np.float64))


def zlib_score(log_prob_T: np.ndarray, text: str) -> float:
    """Mean token NLL over the bytes of the zlib-compressed text (Carlini et al., arXiv 2012.07805)."""
    return loss_score(log_prob_T) / len(zlib.compress(text.encode("utf-8", "surrogatepass")))


def min_k_score(log_prob_T: np.ndarray, share: float = MIN_K) -> float:
    """-mean of the max(1, floor(k L)) lowest log p_t (Min-K%, Shi et al., arXiv 2310.16789); k = 1 is the
    loss."""
    return float(-_lowest(log_prob_T, share).mean(dtype=np.float64))


def min_k_plus_score(log_prob_T: np.ndarray, mean_T: np.ndarray, std_T: np.ndarray) -> float:
    """Min-K%++ (Zhang et al., arXiv 2404.02936): as min-k over z_t = (log p_t - mu_t) / sigma_t, with mu_t
    and sigma_t the mean and standard deviation of log p over the vocabulary under p itself."""
    return float(-_lowest((log_prob_T - mean_T) / std_T, MIN_K).mean(dtype=np.float64))


def _lowest(values_T: np.ndarray, share: float) -> np.ndarray:
    count = max(1, int(share * len(values_T)))
    return np.sort(values_T)[:count]
