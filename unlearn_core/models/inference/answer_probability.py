"""How probable an answer is: the one definition that the live table, the scores, the Probe tab and the
attacks share.

    p(y | x) = prod_t p(y_t | x, y_<t)        the whole answer, its end of text left out

The end of text is left out because it says where the answer stops, not what it is. A mean per token hides
what an answer of many tokens is worth: eleven tokens of 0.41 each are one answer of 0.00006.
"""

from __future__ import annotations

import math

import numpy as np


def log_probability(log_prob_T: np.ndarray) -> float:
    """log p(y | x) in nats: the sum over the answer's tokens; NaN for an answer without tokens."""
    return float(log_prob_T.sum(dtype=np.float64)) if len(log_prob_T) else math.nan


def probability(log_prob_T: np.ndarray) -> float:
    """p(y | x), 0..1: what the greedy or the sampled answer has to beat; NaN without tokens."""
    return math.exp(log_probability(log_prob_T))


def per_token(log_prob_T: np.ndarray) -> float:
    """p(y | x)^(1/T), the geometric mean per token (TOFU, arXiv 2401.06121): comparable between answers of
    different lengths, and no measure of how likely the answer is to be said; NaN without tokens."""
    return math.exp(log_probability(log_prob_T) / max(1, len(log_prob_T)))
