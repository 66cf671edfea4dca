"""RepSelect: what the collapse leaves of a gradient, and how far a round goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn.utils import get_total_norm

from unlearn_core import methods
from unlearn_core.data.encode import encode_example
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.methods.weights.repselect import collapsed
from unlearn_core.models.architecture import mlp_weights
from unlearn_core.training.loop import unlearn

SETTINGS = {"rate": 0.01, "share": 0.25}


def test_by_its_own_directions_a_gradient_is_turned_round() -> None:
    """Of 4, 2, 1 the first two are divided by 4/2 and 2/2, once on either side: 4/4 = 1 and 2; the third stays."""
    gradient = torch.diag(torch.tensor([4.0, 2.0, 1.0]))
    torch.testing.assert_close(collapsed(gradient, gradient, 2 / 3), torch.diag(torch.tensor([1.0, 2.0, 1.0])))
    torch.testing.assert_close(collapsed(gradient, gradient, 1.0), torch.diag(torch.tensor([0.25, 0.5, 1.0])))


def test_by_another_s_directions_only_those_are_weakened() -> None:
    """The other has 8 and 2 along the first axis and the second: what lies in them is divided by 4 and by 1."""
    other = torch.diag(torch.tensor([8.0, 2.0, 0.0]))
    expected = torch.tensor([[1 / 16, 1 / 4, 1 / 4], [1 / 4, 1.0, 1.0], [1 / 4, 1.0, 1.0]])
    torch.testing.assert_close(collapsed(torch.ones(3, 3), other, 2 / 3), expected)
    torch.testing.assert_close(collapsed(torch.ones(3, 3), other, 0.0), torch.ones(3, 3))
    torch.testing.assert_close(collapsed(torch.zeros(3, 3), torch.zeros(3, 3), 0.5), torch.zeros(3, 3))


@pytest.mark.parametrize("shape", [(24, 8), (8, 24)])
def test_it_is_one_matrix_on_the_side_of_the_outputs_and_one_on_that_of_the_inputs(shape: tuple[int, int]) -> None:
    drawn = torch.Generator().manual_seed(0)
    gradient, other = (torch.randn(shape, generator=drawn, dtype=torch.float64) for _ in range(2))
    u, s, vh = torch.linalg.svd(other)
    taken = torch.diag(1 - s[3] / s[:4])
    inputs = torch.eye(shape[1]).double() - vh[:4].T @ taken @ vh[:4]
    outputs = torch.eye(shape[0]).double() - u[:, :4] @ taken @ u[:, :4].T
    expected = outputs @ gradient @ inputs
    torch.testing.assert_close(collapsed(gradient, other, 0.5).double(), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("arch", ["olmo2", "llama"])
@pytest.mark.parametrize("common", ["retain", "forget"])
def test_a_round_goes_its_length_down_the_probability(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, arch: str, common: str
) -> None:
    """Against the same in plain torch, one row at a time: token means over all answers of each set."""
    data = UnlearningData("tiny", tiny_data.forget, tiny_data.retain)
    model, twin = tiny_model(arch), tiny_model(arch)
    result_of(unlearn(model, tiny_tokenizer, data, methods.build("repselect", {**SETTINGS, "common": common}, 1)))
    weights = mlp_weights(twin)
    assert len(weights) == 3 * twin.config.num_hidden_layers

    def nll_of(rows: tuple[Example, ...]) -> torch.Tensor:
        found = []
        for row in rows:
            encoded = encode_example(tiny_tokenizer, row)
            logits = twin(torch.tensor([encoded.ids])).logits[0, encoded.num_prompt - 1 : -1]
            labels = torch.tensor(encoded.ids[encoded.num_prompt :])
            found.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
        return torch.cat(found)

    slopes = torch.autograd.grad(nll_of(data.forget).neg().exp().mean(), list(weights.values()))
    by = slopes
    if common == "retain":
        by = torch.autograd.grad(nll_of(data.retain).mean(), list(weights.values()))
    kept = [collapsed(slope, other, 0.25) for slope, other in zip(slopes, by, strict=True)]
    size = get_total_norm([weight.detach() for weight in weights.values()])
    length = 0.01 * size / get_total_norm(kept)
    moved = mlp_weights(model)
    for (name, weight), slope in zip(weights.items(), kept, strict=True):
        torch.testing.assert_close(moved[name], weight - length * slope, atol=1e-5, rtol=1e-3)
    changed = [moved[name].detach() - weight.detach() for name, weight in weights.items()]
    assert float(get_total_norm(changed) / size) == pytest.approx(0.01, rel=1e-3)


def test_a_small_forget_set_gets_shorter_steps() -> None:
    method = methods.build("repselect", {"rate": 0.02})
    assert [getattr(method.for_rows(rows), "rate", None) for rows in (1, 140, 280, 560)] == [0.006, 0.01, 0.02, 0.02]
    assert method.for_rows(1, given=("rate",)) == method
