"""Membership inference: can the loss tell trained documents from never-trained ones, and how sure is that?

AUC convention of the protocol: score = -loss, members are the positives. 1: members are still
recognised (under-unlearned); 0.5: indistinguishable; 0: members are conspicuously unlikely
(over-unlearned).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unlearn_core.errors import DivergedError

SIGMAS_95 = 1.959964  # of a two-sided interval
AUC_BAND = (0.25, 0.75)  # where how many documents there were is not known


@dataclass(frozen=True, slots=True)
class Band:
    """Where a figure lies with perfect forgetting: its mean and its central 95 %."""

    mean: float
    low: float
    high: float


def auc(member_losses: Sequence[float], nonmember_losses: Sequence[float]) -> float | None:
    """Area under the ROC curve of -loss; None without documents on both sides.

    Equals scikit-learn's `auc(*roc_curve(...))`, which the organisers use, to the last digit. A loss
    that is not a number is a DivergedError.
    """
    check_losses([*member_losses, *nonmember_losses])
    if not member_losses or not nonmember_losses:
        return None
    false_positive, true_positive = roc_curve(member_losses, nonmember_losses)
    return float(np.trapezoid(true_positive, false_positive))


def check_losses(losses: Sequence[float]) -> None:
    """DivergedError where one is not a number."""
    if any(map(math.isnan, losses)):
        mend = "Lower the learning rate or the number of steps."
        raise DivergedError("loss", math.nan, "the model's loss is not a number, so it cannot be scored", mend)


def roc_curve(member_losses: Sequence[float], nonmember_losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates at every useful threshold on the loss, from (0, 0) to (1, 1).

    Drops points on straight lines as scikit-learn does, so that the area has the same last digit; written
    out here because importing scikit-learn takes longer than scoring.
    """
    losses = np.nan_to_num(np.array([*member_losses, *nonmember_losses], dtype=float))
    is_member = np.arange(len(losses)) < len(member_losses)
    order = np.argsort(losses, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(losses[order])), len(losses) - 1)
    true = np.cumsum(is_member[order], dtype=float)[last_of_ties]
    false = 1 + last_of_ties - true
    if len(false) > 2:
        corners = np.r_[True, np.logical_or(np.diff(false, 2), np.diff(true, 2)), True]
        true, false = true[corners], false[corners]
    true, false = np.r_[0.0, true], np.r_[0.0, false]
    return false / false[-1], true / true[-1]


ATTACK_TITLES = {
    "loss": "loss",
    "zlib": "loss per compressed byte",
    "min_k": "min-k",
    "min_k_plus": "min-k++",
    "reference": "loss against the retain-only model",
}


def direction(auc: float) -> str:
    """What the AUC says of the forgotten documents; the MIA score folds both sides together."""
    if auc > AUC_BAND[1]:
        return "still remembered"
    return "pushed too far" if auc < AUC_BAND[0] else "hard to tell apart"


def bootstrap_interval(
    member_losses: Sequence[float], nonmember_losses: Sequence[float], num_samples: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The central 95 % of the AUC when documents of each side are drawn anew with replacement."""
    if not member_losses or not nonmember_losses:
        return None
    members, nonmembers = np.asarray(member_losses), np.asarray(nonmember_losses)
    # The AUC is the share of pairs in which the member has the lower loss; ties count half.
    wins = np.less.outer(members, nonmembers) + 0.5 * np.equal.outer(members, nonmembers)
    rng = np.random.default_rng(seed)
    draws = [
        rng.multinomial(count, np.full(count, 1 / count), size=num_samples) / count
        for count in (len(members), len(nonmembers))
    ]
    areas = ((draws[0] @ wins) * draws[1]).sum(-1)
    low, high = np.quantile(areas, (0.025, 0.975))
    return min(1.0, float(low)), min(1.0, float(high))


def perfect_forgetting(num_members: int, num_nonmembers: int) -> tuple[Band, Band] | None:
    """The AUC and the MIA score to expect when members and non-members are truly alike, for this many.

    The AUC is then a Mann-Whitney statistic with mean 1/2 and variance (n + m + 1) / (12 n m); the score
    1 - 2 |AUC - 1/2| has mean 1 - 2 sd sqrt(2 / pi). 150 + 150 documents give .947, 34 + 34 give .888.
    """
    if num_members == 0 or num_nonmembers == 0:
        return None
    spread = math.sqrt((num_members + num_nonmembers + 1) / (12 * num_members * num_nonmembers))
    reach = SIGMAS_95 * spread
    area = Band(0.5, max(0.0, 0.5 - reach), min(1.0, 0.5 + reach))
    mean = max(0.0, 1 - 2 * spread * math.sqrt(2 / math.pi))
    return area, Band(mean, max(0.0, 1 - 2 * reach), 1.0)


def chance_spread(num_members: int, num_nonmembers: int) -> float:
    """Standard deviation of the AUC of members that are like all others, as its band shows it."""
    bands = perfect_forgetting(num_members, num_nonmembers)
    return (bands[0].high - 0.5) / SIGMAS_95 if bands else 0.5


def wilson_interval(num_right: int, num_asked: int) -> tuple[float, float] | None:
    """The 95 % interval of a share (Wilson, 1927)."""
    if num_asked == 0:
        return None
    from scipy.stats import binomtest

    found = binomtest(num_right, num_asked).proportion_ci(confidence_level=0.95, method="wilson")
    return float(found.low), float(found.high)
