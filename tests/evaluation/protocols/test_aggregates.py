"""The formulas of the benchmarks against figures worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rouge_score import rouge_scorer
from sklearn.metrics import roc_auc_score

from unlearn_core.evaluation.metrics import token_metrics
from unlearn_core.evaluation.metrics.rouge import rouge_l
from unlearn_core.evaluation.metrics.token_metrics import KolmogorovSmirnov, forget_quality
from unlearn_core.evaluation.protocols.terms import aggregates

about = pytest.approx


def test_truth_ratio_and_its_two_aggregates() -> None:
    right, wrong = [1.2], [[2.0, 1.5, 2.5, 3.0, 1.0]]
    geometric = aggregates.truth_ratios(right, wrong)
    assert geometric == about([0.449329], abs=1e-6)
    assert aggregates.closer_to_one(geometric) == about(0.449329, abs=1e-6)
    assert aggregates.closer_to_one([1 / geometric[0]]) == about(0.449329, abs=1e-6)
    assert aggregates.true_better(geometric) == about(0.550671, abs=1e-6)
    assert 1 / geometric[0] == about(2.225541, abs=1e-6)


def test_relative_probability() -> None:
    assert aggregates.relative_probabilities([0.4], [[0.1, 0.2, 0.1]]) == about([0.5], abs=1e-9)


def test_forget_quality_is_the_same_of_ratios_and_of_their_inverses() -> None:
    ours, reference = [0.2, 0.4, 0.6, 0.8], [0.5, 0.7, 0.9, 1.1]
    found = forget_quality(ours, reference)
    assert found is not None
    assert (found.statistic, found.p_value) == (0.5, about(0.771429, abs=1e-6))
    assert forget_quality([1 / x for x in ours], [1 / x for x in reference]) == found
    assert forget_quality(ours, ours) == KolmogorovSmirnov(1.0, 0.0, 4)
    apart = forget_quality([0.0] * 200, [1.0] * 200)
    assert apart is not None
    assert apart.p_value == about(1.9426e-119, rel=1e-4)
    assert forget_quality([], reference) is None
    assert forget_quality([math.nan], reference) is None


def test_model_utility_is_the_harmonic_mean_of_nine() -> None:
    nine = [0.8707, 0.7933, 0.5180, 0.4136, 0.7970, 0.5273, 0.4363, 0.8279, 0.6201]
    assert aggregates.harmonic_mean(nine) == about(0.599160, abs=1e-6)
    assert aggregates.harmonic_mean([*nine[:8], 0.0]) == 0.0
    assert aggregates.harmonic_mean([*nine[:8], None]) is None
    assert aggregates.harmonic_mean([]) is None


@pytest.mark.parametrize(
    ("top", "memorised", "ours", "theirs"),
    [("5178", 0.75, 0.5, 0.5), ("1111", 0.0, 0.0, 0.25), ("1118", 0.25, 0.25, 0.25), ("5678", 1.0, 1.0, 1.0)],
)
def test_extraction_strength_reaches_zero_only_in_ours(top: str, memorised: float, ours: float, theirs: float) -> None:
    """open-unlearning's loop ends at the last token, right or wrong, so that its floor is 1/N."""
    is_top = np.array([a == b for a, b in zip(top, "5678", strict=True)])
    assert token_metrics.exact_memorisation(is_top) == memorised
    assert token_metrics.extraction_strength(is_top) == ours
    assert token_metrics.extraction_strength(is_top, floor=True) == theirs


def test_min_k_and_min_k_plus_plus() -> None:
    assert token_metrics.min_k_score(np.array([-0.1, -0.2, -3, -0.5, -2])) == about(2.5)
    p = np.array([0.9, 0.1])
    mean = (p * np.log(p)).sum()
    spread = (p * np.log(p) ** 2).sum() - mean**2
    assert (mean, spread) == (about(-0.325083, abs=1e-6), about(0.434502, abs=1e-6))
    z = [token_metrics.min_k_plus_score(np.log([x]), mean, math.sqrt(spread)) for x in (0.1, 0.9)]
    assert z == about([3.0, -0.333333], abs=1e-6)


def test_membership_auc_and_privacy_leak() -> None:
    forget, holdout = [1, 2, 3, 4], [2.5, 3.5, 4.5, 5.5]
    area = aggregates.holdout_auc(forget, holdout)
    assert area == 0.8125
    assert aggregates.privacy_leak(area, 0.5) == about(-62.5)
    assert aggregates.privacy_leak(area, 0.4) == about(-68.75)
    assert aggregates.privacy_leak(None, 0.4) is None
    random = np.random.default_rng(0)
    scores = random.normal(size=(2, 57)).round(1)  # rounded, so that some are tied
    expected = roc_auc_score([0] * 57 + [1] * 57, scores.ravel())
    assert aggregates.holdout_auc(*scores) == expected


@pytest.mark.parametrize("stem", [True, False])
def test_rouge_l_equals_the_package(stem: bool) -> None:
    truth, text = "She writes novels about trains", "The writer wrote a novel on trains"
    found = rouge_l(truth, text, stem=stem)
    assert (found.recall, found.fmeasure) == about((0.4, 1 / 3) if stem else (0.2, 1 / 6))
    package = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stem).score(truth, text)["rougeL"]
    assert (found.recall, found.fmeasure) == (package.recall, package.fmeasure)
    assert rouge_l("", text).fmeasure == rouge_l(truth, "").recall == 0.0


def test_composite_of_open_unlearning_and_the_micro_average_of_wmdp() -> None:
    lines = {0.525: (0.32, 0.63, 1.0), 0.520: (0.47, 0.50, 0.61), 0.00894: (0.97, 0.003, 0.79)}
    for expected, parts in lines.items():
        assert aggregates.harmonic_mean(parts) == about(expected, rel=2e-3)
