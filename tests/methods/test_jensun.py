"""JensUn: its divergences against the definition written out, and which token is due where."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.methods.base import StepBatch
from unlearn_core.methods.losses import js_divergence, js_to_token
from unlearn_core.methods.objectives.jensun import in_turn
from unlearn_core.models.inference.forward import AnswerPredictions
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep

LOGITS = torch.tensor([[2.0, 0.5, -1.0], [0.0, 0.0, 0.0], [-3.0, 4.0, 1.0]], dtype=torch.float64)


def written_out(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """KL(p || m) / 2 + KL(q || m) / 2 (N,), m = (p + q) / 2, with 0 ln 0 = 0."""
    m = (p + q) / 2
    return (torch.xlogy(p, p / m).sum(-1) + torch.xlogy(q, q / m).sum(-1)) / 2


def test_the_divergence_is_its_definition_either_way_round() -> None:
    """Of (1/2, 1/2) and (1/4, 3/4): m = (3/8, 5/8), KLs 0.032269 and 0.035361 nats, half their sum 0.033822."""
    other = torch.tensor([[0.2, 0.3, 0.5], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    found_N = js_divergence(other.log(), LOGITS)
    torch.testing.assert_close(found_N.double(), written_out(LOGITS.softmax(-1), other), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(js_divergence(LOGITS.log_softmax(-1), other.log()), found_N, atol=1e-6, rtol=1e-5)
    by_hand = js_divergence(torch.tensor([[0.25, 0.75]]).log(), torch.zeros(1, 2))
    assert by_hand.item() == pytest.approx(0.033822, abs=1e-5)


def test_the_original_s_own_predictions_are_at_rest() -> None:
    logits_NV = LOGITS.float().requires_grad_()
    loss = js_divergence(LOGITS.float().log_softmax(-1), logits_NV).sum()
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert torch.autograd.grad(loss, logits_NV)[0].abs().max() < 1e-6


def test_the_divergence_from_one_token_is_that_from_its_one_hot_distribution() -> None:
    tokens_N = torch.tensor([1, 0, 2])
    one_hot = torch.nn.functional.one_hot(tokens_N, 3).double()
    expected_N = written_out(LOGITS.softmax(-1), one_hot)
    torch.testing.assert_close(js_to_token(LOGITS, tokens_N).double(), expected_N, atol=1e-6, rtol=1e-5)


def test_it_is_bounded_and_fades_at_both_ends() -> None:
    """ln 2 at p = 0 and 0 at p = 1; at p = 1/3 of three tokens the slope at its logit is
    (1 - p) (p / 2) ln (p / (1 + p)) = (2/3) (1/6) ln (1/4) = -0.154033."""
    tokens_N = torch.tensor([0])
    for logit, value in ((-40.0, math.log(2)), (40.0, 0.0)):
        logits_NV = torch.tensor([[logit, 0.0, 0.0]], requires_grad=True)
        loss = js_to_token(logits_NV, tokens_N).sum()
        assert loss.item() == pytest.approx(value, abs=1e-6)
        assert torch.autograd.grad(loss, logits_NV)[0].abs().max() < 1e-6
    logits_NV = torch.zeros(1, 3, requires_grad=True)
    slope = torch.autograd.grad(js_to_token(logits_NV, tokens_N).sum(), logits_NV)[0]
    assert slope[0, 0].item() == pytest.approx(-0.154033, abs=1e-5)
    assert slope.sum().item() == pytest.approx(0.0, abs=1e-6)


def part_of(logits_NV: torch.Tensor, row_N: list[int]) -> AnswerPredictions:
    index_B = torch.arange(max(row_N) + 1)
    return AnswerPredictions(logits_NV, torch.zeros(len(row_N), dtype=torch.long), torch.tensor(row_N), index_B)


def test_the_refusal_begins_anew_in_each_sequence() -> None:
    due_N = in_turn(torch.tensor([7, 9]), part_of(torch.zeros(6, 12), [0, 0, 0, 1, 2, 2]))
    assert due_N.tolist() == [7, 9, 7, 7, 7, 9]


def test_the_total_weighs_a_mean_over_the_tokens_of_each_set() -> None:
    method = methods.build("jensun", {"forget_weight": 2.0, "retain_weight": 3.0})
    forget, retain = part_of(LOGITS, [0, 0, 1]), part_of(2 * LOGITS[:2], [0, 1])
    reference = SimpleNamespace(log_probs=lambda name, part: LOGITS[:2].log_softmax(-1))
    context: Any = SimpleNamespace(reference=reference, state={"refusal": torch.tensor([1, 2])})
    push_N = js_to_token(LOGITS, torch.tensor([1, 2, 1]))
    hold_N = written_out((2 * LOGITS[:2]).softmax(-1), LOGITS[:2].softmax(-1))
    total = method.losses(context, StepBatch(forget, retain)).total
    assert float(total) == pytest.approx(2 * float(push_N.mean()) + 3 * float(hold_N.mean()), rel=1e-5)


def test_without_a_push_nothing_moves(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    method = methods.build("jensun", {"forget_weight": 0.0, "batch_size": 4}, 1)
    run = unlearn(tiny_model(), tiny_tokenizer, tiny_data, method, probe_ids=())
    (step,) = [record for record in run if isinstance(record, LoopStep)]
    assert step.losses["total"] == pytest.approx(0.0, abs=1e-6)
    assert step.gradient_norm < 1e-4


def test_a_refusal_without_words_is_refused(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    context: Any = SimpleNamespace(model=tiny_model(), tokenizer=tiny_tokenizer, state={})
    with pytest.raises(InputError, match="has no tokens"):
        methods.build("jensun", {"refusal": ""}).prepare(context)
