"""Selective pruning: which neurons score high, and that switching one off is taking its column out."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.methods.weights.pruning import activity, scores
from unlearn_core.models.architecture import mlp_outputs
from unlearn_core.training.loop import unlearn

FORGET = [Encoded(tuple(range(5, 14)), 4, 0), Encoded(tuple(range(40, 46)), 2, 1)]
RETAIN = [Encoded(tuple(range(90, 101)), 3, 0), Encoded(tuple(range(200, 207)), 4, 1)]


@pytest.fixture
def mean_activity(tiny_model: Callable[..., Any]) -> Callable[[list[Encoded]], torch.Tensor]:
    model = tiny_model()
    context: Any = SimpleNamespace(model=model)
    return lambda rows: activity(context, rows, mlp_outputs(model))[0]


def test_saying_a_set_twice_changes_no_score(mean_activity: Callable[..., torch.Tensor]) -> None:
    once = scores(mean_activity(FORGET), mean_activity(RETAIN), 1e-3)
    torch.testing.assert_close(scores(mean_activity(FORGET * 2), mean_activity(RETAIN * 3), 1e-3), once)


def test_exchanging_the_sets_turns_the_ranking_round(mean_activity: Callable[..., torch.Tensor]) -> None:
    forget, retain = mean_activity(FORGET), mean_activity(RETAIN)
    there, back = scores(forget, retain, 1e-12).flatten(), scores(retain, forget, 1e-12).flatten()
    assert torch.equal(there.argsort(), back.argsort(descending=True))
    alike = scores(forget, forget, 1e-12)
    torch.testing.assert_close(alike, torch.ones_like(alike))  # nothing to choose by


def run(model: Any, tokenizer: Any, data: UnlearningData, share: float) -> None:
    result_of(unlearn(model, tokenizer, data, methods.build("selective_pruning", {"share": share}, 2)))


def test_a_neuron_that_never_fires_on_the_forget_set_is_never_chosen(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[5] = 0.0
    before = model.model.layers[0].mlp.down_proj.weight.detach().clone()
    run(model, tiny_tokenizer, tiny_data, 0.9)
    after = model.model.layers[0].mlp.down_proj.weight
    assert torch.equal(after[:, 5], before[:, 5])
    assert (after == 0).all(0).sum() > 32


def test_a_share_of_nothing_changes_nothing(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    run(model, tiny_tokenizer, tiny_data, 0.0)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_column_of_zeros_is_a_neuron_switched_off(tiny_model: Callable[..., Any]) -> None:
    model, ids, off = tiny_model(), torch.arange(2, 12)[None], [3, 8, 21]
    output = model.model.layers[1].mlp.down_proj
    mask = torch.ones(64)
    mask[off] = 0.0
    handle = output.register_forward_pre_hook(lambda module, args: (args[0] * mask,))
    with torch.no_grad():
        masked = model(ids).logits
        handle.remove()
        assert not torch.equal(model(ids).logits, masked)
        output.weight[:, off] = 0.0
        torch.testing.assert_close(model(ids).logits, masked)
