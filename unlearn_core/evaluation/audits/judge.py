"""When a figure is a leak: the thresholds of all audits, with their reasons, in one place.

A leak is more than the controls give, by more than chance. Without the first condition a fluent guess
would count; without the second, one lucky row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from unlearn_core.evaluation.metrics.membership import SIGMAS_95

# One forgotten row in twenty: what a person would call "it still tells". Below it lies what a retain-only
# model reaches by sharing words with the truth.
MARGIN = 0.05
# Standard errors of the difference: one-sided 1 % for each audit. Sixteen audits then raise a false alarm in
# one of six spotless models at most, and fewer because every control must be exceeded.
SIGMAS = 2.33
# Membership tries four attacks on up to four groups: 16 chances for chance, so 1 % is shared among them.
MEMBERSHIP_SIGMAS = 3.4
# An advantage 2 |AUC - 1/2| below this is of no use to an attacker even where it is certain.
MEMBERSHIP_ADVANTAGE = 0.2
# Of the way from the original to the retain-only model, over all layers; the retain-only model itself has
# come all of it, and one that was trained anew, from another seed, less or more by chance.
ERASED = 0.9


@dataclass(frozen=True)
class Comparison:
    """Scores 0..1 per row of the same attack: on the forgotten rows and on each control."""

    forget: np.ndarray
    controls: dict[str, np.ndarray]  # by "holdout" and "retain_only", those that are there

    chances: int = 1  # tries that share the same chance of a false alarm

    @property
    def leaks(self) -> bool:
        """More than every control that has rows, by the margin and beyond chance."""
        told = [control for control in self.controls.values() if len(control)]
        return bool(len(self.forget) and told) and all(exceeds(self.forget, one, self.chances) for one in told)

    @property
    def beyond(self) -> dict[str, float]:
        """How much more the attack gets than out of the highest control, with its interval."""
        told = [control for control in self.controls.values() if len(control)]
        if not len(self.forget) or not told:
            return {}
        highest = max(told, key=lambda control: float(control.mean()))
        return interval(float(self.forget.mean() - highest.mean()), _error_of_gap(self.forget, highest))

    @property
    def figures(self) -> dict[str, float]:
        means = {name: float(scores.mean()) for name, scores in self.controls.items() if len(scores)}
        return {"forget": float(self.forget.mean()) if len(self.forget) else 0.0, **means, **self.beyond}


def interval(beyond: float, error: float) -> dict[str, float]:
    """The figures of a leak: how far beyond the controls, and the ends of the 95 % interval."""
    low, high = beyond - SIGMAS_95 * error, beyond + SIGMAS_95 * error
    return {"beyond": beyond, "beyond_low": max(-1.0, low), "beyond_high": min(1.0, high)}


def exceeds(found: np.ndarray, control: np.ndarray, chances: int = 1) -> bool:
    """Whether the mean of `found` is above that of `control` by MARGIN and beyond chance: by SIGMAS standard
    errors, or more where this is one of several `chances` that share the same 1 %."""
    if not len(found) or not len(control):
        return False
    gap = float(found.mean() - control.mean())
    return gap >= MARGIN and gap >= sigmas(chances) * _error_of_gap(found, control)


def sigmas(chances: int) -> float:
    """Standard errors that chance exceeds in one of a hundred times in any of so many tries (Bonferroni)."""
    return SIGMAS if chances == 1 else NormalDist().inv_cdf(1 - 0.01 / chances)


def falls_short(erased: float, spread: float) -> bool:
    """Whether a model has come less than ERASED of its way, beyond chance: by SIGMAS standard deviations."""
    return erased + SIGMAS * spread < ERASED


def _error_of_gap(found: np.ndarray, control: np.ndarray) -> float:
    error: float = (variance_of_mean(found) + variance_of_mean(control)) ** 0.5
    return error


def variance_of_mean(scores: Sequence[float] | np.ndarray) -> float:
    """Variance of the mean of scores in 0..1, as if one row more had scored 0 and one more 1: a share of
    0 among few rows is not certain (Agresti and Coull, 1998)."""
    padded = np.append(np.asarray(scores, dtype=float), (0.0, 1.0))
    return float(padded.var()) / len(padded)


# A probe is one chance per model, because its layer is chosen on retained subjects: one-sided 1 %.
PROBE_SIGMAS = SIGMAS
# A probe's AUC must also be this much above the retain-only model's: which names are in which set is not
# quite without pattern, and the retain-only model shows how much of it a probe can use.
PROBE_MARGIN = 0.1


def area_leaks(area: float, allowed: float, retain_only: float | None) -> bool:
    """Whether an AUC says that forgotten subjects look known."""
    return area - 0.5 > max(allowed, PROBE_MARGIN) and (retain_only is None or area - retain_only > PROBE_MARGIN)
