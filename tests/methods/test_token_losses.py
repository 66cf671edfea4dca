"""Token-weighted, refusal and constraint losses against hand-derived values and their papers' identities."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import Context, Losses, StepBatch
from unlearn_core.methods.inference_time.uld import uniform_loss
from unlearn_core.methods.losses import (
    counter_entropy,
    dpo_loss,
    flatness_loss,
    npo_loss,
    satimp_loss,
    simnpo_loss,
    soft_cross_entropy,
    weighted_ascent,
    wga_loss,
    without_label,
)
from unlearn_core.methods.objectives.balanced import best_length
from unlearn_core.models.inference.forward import AnswerPredictions, mean_per_row, token_nll
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep


def gradient(loss: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(loss, of)[0]


@pytest.fixture
def nll_N() -> torch.Tensor:
    return torch.tensor([0.01, 0.4, 1.7, 5.0], dtype=torch.float64, requires_grad=True)


def test_wga_without_exponent_is_gradient_ascent(nll_N: torch.Tensor) -> None:
    torch.testing.assert_close(wga_loss(nll_N, 0.0), -nll_N.mean())


@pytest.mark.parametrize("beta", [1.0, 3.0])
def test_wga_descends_on_the_power_of_the_probability(nll_N: torch.Tensor, beta: float) -> None:
    """d/dnll of mean p^b / b, p = exp(-nll), is -p^b / N: the weight of WGA, if p is held fixed."""
    expected = gradient((-beta * nll_N).exp().mean() / beta, nll_N)
    torch.testing.assert_close(gradient(wga_loss(nll_N, beta), nll_N), expected)


def test_satimp_identities(nll_N: torch.Tensor) -> None:
    """beta2 0 is WGA; (5, 1) descends on mean p^5/5 - p^6/6, because p^5 (1 - p) = p^5 - p^6."""
    torch.testing.assert_close(satimp_loss(nll_N, 2.0, 0.0), wga_loss(nll_N, 2.0))
    p_N = (-nll_N).exp()
    expected = gradient((p_N**5 / 5 - p_N**6 / 6).mean(), nll_N)
    torch.testing.assert_close(gradient(satimp_loss(nll_N, 5.0, 1.0), nll_N), expected)


def test_satimp_of_a_certain_token_is_finite() -> None:
    nll_N = torch.zeros(1, requires_grad=True)
    assert torch.isfinite(gradient(satimp_loss(nll_N, 1.0, 0.1), nll_N)).all()


def test_ceu_slopes() -> None:
    """At the label p_y, elsewhere -p_j p_y / (1 - p_y); they sum to 0 and stay full when p_y is near 1."""
    logits_NV = torch.tensor([[2.0, 0.5, -1.0]], dtype=torch.float64, requires_grad=True)
    labels_N = torch.tensor([0])
    p = logits_NV.detach().softmax(-1)[0]
    expected = torch.stack([p[0], -p[1] * p[0] / (1 - p[0]), -p[2] * p[0] / (1 - p[0])])
    found = gradient(counter_entropy(logits_NV, labels_N).sum(), logits_NV)[0]
    torch.testing.assert_close(found, expected.float().double(), atol=1e-6, rtol=1e-5)
    certain_NV = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
    assert gradient(counter_entropy(certain_NV, labels_N).sum(), certain_NV).norm() > 1
    assert gradient(F.cross_entropy(certain_NV, labels_N), certain_NV).norm() < 1e-6


def test_undial_target_lowers_only_the_labels_odds() -> None:
    log_probs_NV = torch.tensor([[0.6, 0.3, 0.1]]).log()
    lowered_NV = without_label(log_probs_NV, torch.tensor([0]), 2.0)
    assert lowered_NV.exp().sum().item() == pytest.approx(1.0)
    odds = (lowered_NV[0, 0] - lowered_NV[0, 1]).item()
    assert odds == pytest.approx(math.log(0.6 / 0.3) - 2.0, abs=1e-5)
    assert (lowered_NV[0, 1] - lowered_NV[0, 2]).item() == pytest.approx(math.log(3), abs=1e-5)


def test_undial_without_lowering_rests_at_the_start() -> None:
    """The loss is the teacher's entropy, -(0.6 ln 0.6 + 0.3 ln 0.3 + 0.1 ln 0.1) = 0.897946; slope 0."""
    log_probs_NV = torch.tensor([[0.6, 0.3, 0.1]]).log()
    logits_NV = (log_probs_NV + 1.0).requires_grad_()
    loss = soft_cross_entropy(without_label(log_probs_NV, torch.tensor([0]), 0.0), logits_NV).mean()
    assert loss.item() == pytest.approx(0.897946, abs=1e-5)
    assert gradient(loss, logits_NV).abs().max().item() < 1e-6


def test_dpo_identities() -> None:
    """No gains: (2/beta) ln 2, slopes -1/B and +1/B. Without the wanted answer it is NPO."""
    wanted_B = torch.zeros(2, requires_grad=True)
    unwanted_B = torch.zeros(2, requires_grad=True)
    loss = dpo_loss(wanted_B, unwanted_B, 0.1)
    assert loss.item() == pytest.approx(20 * math.log(2), rel=1e-6)
    slopes = torch.autograd.grad(loss, (wanted_B, unwanted_B))
    assert [slope.tolist() for slope in slopes] == [[-0.5, -0.5], [0.5, 0.5]]
    nll_B, reference_B = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 1.0])
    torch.testing.assert_close(dpo_loss(torch.zeros(2), reference_B - nll_B, 0.5), npo_loss(nll_B, reference_B, 0.5))


def test_flatness_by_hand() -> None:
    """Rows (0, 0, 3): max 3, mean 1, square 4; (5, 5, 5): 0. Mean 2; a constant changes nothing."""
    logits_NV = torch.tensor([[0.0, 0.0, 3.0], [5.0, 5.0, 5.0]])
    assert flatness_loss(logits_NV).item() == pytest.approx(2.0)
    assert flatness_loss(logits_NV + 7).item() == pytest.approx(2.0)


def test_the_price_of_pdu_follows_the_constraint() -> None:
    """bound 0.1, rate 5, start 10, fixed for 2 of 10 steps: 0.5 adds 5 * 0.4 = 2; 0.0 takes 0.5 off."""
    method = methods.build("pdu", {"bound": 0.1, "rate": 5.0, "price": 10.0, "fixed": 0.2})
    context = Context(None, 10, 0, {}, None, None)  # type: ignore[arg-type]
    method.prepare(context)
    prices = []
    for step, retain in ((0, 0.5), (2, 0.5), (3, 0.0), (4, -100.0)):
        loss = torch.tensor(retain)
        method.after_step(context, step, Losses(loss, None, loss))
        prices.append(context.state["price"])
    assert prices == pytest.approx([10.0, 12.0, 11.5, 0.0])


def test_ngdiff_steps_against_both_gradients() -> None:
    """<g, g_R> = |g_R| (1 - cos), <g, g_F> = -|g_F| (1 - cos), |g|^2 = 2 (1 - cos); scale does not matter."""
    torch.manual_seed(0)
    method = methods.build("ngdiff")
    forget = [torch.randn(3, 2), torch.randn(4)]
    retain = [torch.randn(3, 2), torch.randn(4)]
    mixed = method.combine(forget, retain)

    def flat(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.cat([part.flatten() for part in parts])

    cos = F.cosine_similarity(flat(forget), flat(retain), dim=0)
    torch.testing.assert_close(flat(mixed) @ flat(retain), flat(retain).norm() * (1 - cos))
    torch.testing.assert_close(flat(mixed) @ flat(forget), -flat(forget).norm() * (1 - cos))
    torch.testing.assert_close(flat(mixed).square().sum(), 2 * (1 - cos))
    scaled = method.combine([100 * g for g in forget], retain)
    torch.testing.assert_close(flat(scaled), flat(mixed))


def test_the_fitted_length_is_the_least_of_a_parabola() -> None:
    """3 (x - 1.5)^2 + 1 at -1, 0 and 1 is 19.75, 7.75 and 1.75: its least is at 1.5; beyond 2 is cut."""
    assert best_length(19.75, 7.75, 1.75) == pytest.approx(1.5)
    assert best_length(3 * 25 + 1.0, 3 * 16 + 1.0, 3 * 9 + 1.0) == 2.0  # at 4
    assert best_length(1.44, 0.04, 0.64) == 0.5  # at 0.2
    assert best_length(1.0, 2.0, 3.0) == 1.0  # uphill
    assert best_length(1.0, 2.0, 1.0) == 1.0  # no least


def test_fitting_the_rate_leaves_weights_as_they_were_and_scales_the_next_step(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """With a fit after every step the first step is still the plain one; later ones may differ."""
    weights, rates = {}, {}
    for interval in (0, 1):
        method = methods.build("ngdiff", {"interval": interval, "batch_size": 4, "learning_rate": 2e-2}, steps=5)
        model = tiny_model()
        run = unlearn(model, tiny_tokenizer, tiny_data, method, probe_ids=())
        steps = (record for record in run if isinstance(record, LoopStep))
        first = next(steps)
        weights[interval] = {key: value.clone() for key, value in model.state_dict().items()}
        rates[interval] = [first.learning_rate, *(step.learning_rate for step in steps)]
    assert all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
    assert rates[0][0] == rates[1][0]
    ratios = [b / a for a, b in zip(rates[0], rates[1], strict=True)]
    growth = [after / before for before, after in pairwise(ratios)]
    assert any(ratio != 1.0 for ratio in growth)
    assert all(0.5 - 1e-9 <= ratio <= 2.0 + 1e-9 for ratio in growth)


def test_npo_is_a_weighted_ascent_and_tends_to_it_beside_a_constant() -> None:
    """grad = -mean W grad(NLL), W = 2 p^b / (p^b + p_ref^b); L - (2/b) ln 2 -> -mean (NLL - NLL_ref)."""
    reference_B = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    nll_B = torch.tensor([2.0, 5.0, 3.0], dtype=torch.float64, requires_grad=True)
    p_B, p_ref_B = ((-0.7 * each.detach()).exp() for each in (nll_B, reference_B))
    weight_B = 2 * p_B / (p_B + p_ref_B)
    torch.testing.assert_close(gradient(npo_loss(nll_B, reference_B, 0.7), nll_B), -weight_B / 3)
    limit = npo_loss(nll_B, reference_B, 1e-6).item() - 2e6 * math.log(2)
    assert limit == pytest.approx(-(nll_B - reference_B).mean().item(), abs=1e-4)


def test_an_answer_said_twice_is_one_simnpo_term() -> None:
    """The mean over a sequence whose tokens all occur twice as often is the same mean."""

    def loss(times: int) -> torch.Tensor:
        labels_N = torch.tensor([0, 1, 2] * times + [1])
        logits_NV = torch.tensor([[0.1, 2.0, -1.0], [1.0, 0.5, 0.0], [0.3, 0.0, 2.0]] * times + [[1.0, 0.0, 0.0]])
        row_N = torch.tensor([0] * 3 * times + [1])
        part = AnswerPredictions(logits_NV, labels_N, row_N, torch.tensor([0, 1]))
        return simnpo_loss(mean_per_row(token_nll(part), part), 2.5)

    torch.testing.assert_close(loss(2), loss(1))


def test_exchanging_the_wanted_and_the_unwanted_turns_the_logit_of_dpo_round() -> None:
    """-log sigmoid(x) + log sigmoid(-x) = -x, so the two losses differ by 2 mean (gain_w - gain_u)."""
    wanted_B, unwanted_B = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.25])
    gap = dpo_loss(wanted_B, unwanted_B, 0.3) - dpo_loss(unwanted_B, wanted_B, 0.3)
    assert gap.item() == pytest.approx(-2 * (wanted_B - unwanted_B).mean().item(), rel=1e-5)


def test_tokens_without_weight_get_no_slope_and_the_scale_of_weights_does_not_matter() -> None:
    """Divided by the sum of weights, where the plain form would scale with them."""
    nll_N = torch.tensor([1.0, 3.0, 2.0], requires_grad=True)
    weight_N = torch.tensor([0.5, 0.0, 0.25])
    slope_N = gradient(weighted_ascent(nll_N, weight_N), nll_N)
    assert slope_N.tolist() == pytest.approx([-2 / 3, 0.0, -1 / 3])
    torch.testing.assert_close(gradient(weighted_ascent(nll_N, 7 * weight_N), nll_N), slope_N)


def test_ceu_lets_go_of_what_is_unlikely() -> None:
    logits_NV = torch.tensor([[-30.0, 0.0, 1.0]], requires_grad=True)
    assert gradient(counter_entropy(logits_NV, torch.tensor([0])).sum(), logits_NV).norm() < 1e-6


def test_uniform_loss_by_its_formula() -> None:
    """-ln V - mean log p = -ln 3 - (ln 0.6 + ln 0.3 + ln 0.1) / 3 = 0.240516."""
    assert uniform_loss(torch.tensor([[0.6, 0.3, 0.1]]).log() + 5).item() == pytest.approx(0.240516, abs=1e-5)


def part_of(logits_NV: torch.Tensor) -> AnswerPredictions:
    return AnswerPredictions(
        logits_NV,
        torch.zeros(len(logits_NV), dtype=torch.long),
        torch.arange(len(logits_NV)),
        torch.arange(len(logits_NV)),
    )


def test_the_bound_of_pdu_changes_no_gradient() -> None:
    logits_NV = torch.tensor([[1.0, 0.0, 2.0]], requires_grad=True)
    found = []
    for bound in (0.1, 3.0):
        method = methods.build("pdu", {"bound": bound})
        context = Context(None, 10, 0, {}, None, None)  # type: ignore[arg-type]
        method.prepare(context)
        losses = method.losses(context, StepBatch(part_of(logits_NV), part_of(2 * logits_NV)))
        found.append(gradient(losses.total, logits_NV))
    assert torch.equal(*found)


def test_rmu_of_one_token_by_hand() -> None:
    """h = (1, 2), target (0, 4): (1 + 4) / 2 = 2.5; retain (0, 1), original (2, 1): 4 / 2 = 2, times 10."""
    reference = SimpleNamespace(hidden=lambda part, answers: torch.tensor([[2.0, 1.0]]))
    context = Context(None, 1, 0, {}, reference, None)  # type: ignore[arg-type]
    context.state["target_D"] = torch.tensor([0.0, 4.0])
    batch = StepBatch(part_of(torch.tensor([[1.0, 2.0]])), part_of(torch.tensor([[0.0, 1.0]])))
    losses = methods.build("rmu", {"retain_weight": 10.0}).losses(context, batch)
    assert losses.total.item() == pytest.approx(2.5 + 10 * 2.0)


def test_ngdiff_of_parallel_gradients_stands_still() -> None:
    method, retain = methods.build("ngdiff"), [torch.randn(3, 2), torch.randn(4)]
    mixed = method.combine([3 * g for g in retain], [0.01 * g for g in retain])
    assert all(part.abs().max() < 1e-6 for part in mixed)
