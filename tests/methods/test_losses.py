"""Losses against numbers derived by hand, and the identities their papers state."""

from __future__ import annotations

import math

import pytest
import torch

from unlearn_core.methods.losses import (
    LEAST_VARIANCE,
    bucket_kl_divergence,
    floor_loss,
    kl_divergence,
    matching_loss,
    npo_loss,
    quantile_loss,
    simnpo_loss,
    standardised,
)


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, of)[0]


def test_npo_value_by_hand() -> None:
    """beta 0.5, NLL 3 and 1 against references 1 and 1: margins 1.0 and 0.0 after beta.

    -log sigmoid(1) = 0.313262, -log sigmoid(0) = ln 2 = 0.693147; mean 0.503204; times 2/0.5 = 2.012818.
    """
    loss = npo_loss(torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0]), beta=0.5)
    assert loss.item() == pytest.approx(2.012818, abs=1e-5)


@pytest.mark.parametrize("beta", [0.01, 0.1, 2.0])
def test_npo_at_the_reference_is_gradient_ascent(beta: float) -> None:
    """d = 0: loss (2/beta) ln 2, and the gradient per sequence is that of -mean NLL, whatever beta."""
    nll_B = torch.tensor([2.0, 7.0, 0.5], requires_grad=True)
    loss = npo_loss(nll_B, nll_B.detach(), beta)
    assert loss.item() == pytest.approx(2 / beta * math.log(2), rel=1e-6)
    torch.testing.assert_close(gradient(loss, nll_B), torch.full((3,), -1 / 3))


def test_npo_tends_to_gradient_ascent_linearly_in_beta() -> None:
    """W = 2 sigmoid(-beta d) = 1 - beta d / 2 + ..., so the distance from ascent falls tenfold with beta."""
    reference_B = torch.tensor([1.0, 2.0], dtype=torch.float64)
    nll_B = torch.tensor([2.0, 5.0], dtype=torch.float64, requires_grad=True)
    distances = [
        (gradient(npo_loss(nll_B, reference_B, beta), nll_B) + 0.5).norm().item() for beta in (0.1, 0.01, 0.001)
    ]
    assert distances[0] / distances[1] == pytest.approx(10, rel=0.01)
    assert distances[1] / distances[2] == pytest.approx(10, rel=0.01)


def test_npo_fades_when_forgotten() -> None:
    nll_B = torch.tensor([500.0], requires_grad=True)
    loss = npo_loss(nll_B, torch.zeros(1), 0.1)
    assert 0 <= loss.item() < 1e-6
    assert gradient(loss, nll_B).abs().item() < 1e-6


def test_simnpo_is_npo_on_means_with_the_margin_as_reference() -> None:
    mean_nll_B = torch.tensor([0.3, 2.0])
    for margin in (0.0, 0.7):
        expected = npo_loss(mean_nll_B, torch.full((2,), margin), 2.5)
        torch.testing.assert_close(simnpo_loss(mean_nll_B, 2.5, margin), expected)


def test_kl_by_hand_and_zero_at_the_reference() -> None:
    """p = (1/2, 1/2), q = (3/4, 1/4): KL(p||q) = 1/2 ln(2/3) + 1/2 ln 2 = 0.143841."""
    reference_NV = torch.tensor([[0.5, 0.5]]).log()
    logits_NV = torch.tensor([[0.75, 0.25]]).log()
    assert kl_divergence(reference_NV, logits_NV).item() == pytest.approx(0.143841, abs=1e-5)
    start_NV = (reference_NV + 3).requires_grad_()  # logits are free up to a constant
    loss = kl_divergence(reference_NV, start_NV).sum()
    assert abs(loss.item()) < 1e-7
    assert gradient(loss, start_NV).abs().max().item() < 1e-7


def test_bucket_kl_is_at_most_the_full_kl_and_equal_when_all_is_kept() -> None:
    torch.manual_seed(0)
    reference_NV = torch.randn(5, 40).log_softmax(-1)
    logits_NV = torch.randn(5, 40)
    full_N = kl_divergence(reference_NV, logits_NV)
    for kept in (3, 20, 39):
        values, tokens = reference_NV.topk(kept)
        bucket_N = bucket_kl_divergence(values, tokens, logits_NV)
        assert (bucket_N <= full_N + 1e-5).all()
        assert (bucket_N >= -1e-6).all()
        at_reference_N = bucket_kl_divergence(values, tokens, reference_NV)
        assert at_reference_N.abs().max().item() < 1e-5
    torch.testing.assert_close(bucket_N, full_N, atol=1e-4, rtol=1e-4)


def test_matching_pulls_from_both_sides() -> None:
    """Means 1 and 5, targets 3 and 4: ((1-3)^2 + (5-4)^2) / 2 = 2.5; slopes -2 and +1."""
    mean_B = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = matching_loss(mean_B, torch.tensor([3.0, 4.0]))
    assert loss.item() == pytest.approx(2.5)
    assert gradient(loss, mean_B).tolist() == pytest.approx([-2.0, 1.0])


def test_the_floor_holds_from_below_only() -> None:
    """Means 1 and 5, targets 3 and 4: (2^2 + 0) / 2 = 2; slopes -2 and 0."""
    mean_B = torch.tensor([1.0, 5.0], requires_grad=True)
    loss = floor_loss(mean_B, torch.tensor([3.0, 4.0]))
    assert loss.item() == pytest.approx(2.0)
    assert gradient(loss, mean_B).tolist() == pytest.approx([-2.0, 0.0])


def test_a_standardised_surprise_by_hand() -> None:
    """p = 1/4, 3/4: log p is -1.386 and -0.288, of mean -0.562 and deviation 0.476 under p: -sqrt 3 and 1/sqrt 3."""
    logits_NV = torch.tensor([[0.25, 0.75]] * 2).log() + 7.0
    found = standardised(logits_NV, torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([-(3**0.5), 3**-0.5]))


def test_quantiles_of_two_samples_by_hand() -> None:
    """Two values stand at the levels 1/4 and 3/4, where 0, 2, 4 has 1 and 3; only the first sample has a slope."""
    other_M = torch.tensor([4.0, 0.0, 2.0], requires_grad=True)
    own_N = torch.tensor([5.0, 1.0], requires_grad=True)
    loss = quantile_loss(own_N, other_M)
    assert loss.item() == 2.0
    assert gradient(loss, own_N).tolist() == [2.0, 0.0]
    assert quantile_loss(torch.tensor([3.0, 1.0]), other_M).item() == 0.0


def test_the_slope_of_a_standardised_surprise_is_that_of_its_formula() -> None:
    """Beside the derivative of the formula as it is written; a certain and an almost uniform row among the others."""
    logits_NV = 3 * torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits_NV[4] = torch.tensor([60.0] + [0.0] * 10)
    logits_NV[5] *= 0.001
    labels_N = torch.tensor([0, 3, 5, 2, 0, 7])
    weights_N = torch.linspace(-1, 2, 6, dtype=torch.float64)

    def written_out(logits_NV: torch.Tensor) -> torch.Tensor:
        log_p_NV = logits_NV.log_softmax(-1)
        mean_N = (log_p_NV.exp() * log_p_NV).sum(-1)
        variance_N = (log_p_NV.exp() * (log_p_NV - mean_N[:, None]) ** 2).sum(-1)
        own_N = log_p_NV.gather(1, labels_N[:, None])[:, 0]
        return (own_N - mean_N) / variance_N.clamp(min=LEAST_VARIANCE).sqrt()

    slopes = []
    for measure in (lambda logits_NV: standardised(logits_NV, labels_N), written_out):
        leaf_NV = logits_NV.clone().requires_grad_()
        value_N = measure(leaf_NV)
        (value_N * weights_N).sum().backward()
        slopes.append((value_N.detach(), leaf_NV.grad))
    torch.testing.assert_close(slopes[0], slopes[1])
