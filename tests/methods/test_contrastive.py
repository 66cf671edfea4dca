"""PCGU: which weight vectors it picks, and what it does to a model that knows its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded, collate, encode_example
from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.methods.objectives.contrastive import least_alike, swapped
from unlearn_core.models.inference.forward import answers
from unlearn_core.training.loop import unlearn


def test_the_least_alike_rows_are_chosen_over_all_matrices() -> None:
    one = {"a": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), "b": torch.tensor([[1.0, 1.0]])}
    other = {"a": torch.tensor([[-1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), "b": torch.tensor([[1.0, 0.0]])}
    chosen = least_alike(one, other, 0.5)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {"a": [0], "b": [0]}
    everything = least_alike(one, other, 1.0)  # but not the row without any gradient
    assert {name: rows.tolist() for name, rows in everything.items()} == {"a": [0, 1], "b": [0]}
    assert not any(len(rows) for rows in least_alike(one, one, 0.0).values())
    assert not any(len(rows) for rows in least_alike(one, one, 1.0).values())


def test_another_answer_follows_the_same_question() -> None:
    rows = [Encoded((1, 2, 3, 4), 2, 0)]
    assert swapped(rows, [Encoded((9, 8, 7, 6, 5), 1, 3)]) == [Encoded((1, 2, 8, 7), 2, 0)]


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_no_more_rows_change_than_allowed_and_all_come_back(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, rate: float
) -> None:
    rows = tuple(replace(row, output=f"Zed {n}") for n, row in enumerate(tiny_data.forget))
    data = replace(tiny_data, forget=rows)  # the same answers as the retained rows' would leave no contrast
    model = tiny_model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    method = methods.build("pcgu", {"share": 0.25, "rate": rate}, steps=1)
    artifact = result_of(unlearn(model, tiny_tokenizer, data, method))
    names = [f"model.layers.{n}.mlp.down_proj.weight" for n in range(2)]
    count = sum(int((model.get_parameter(name) != before[name]).any(1).sum()) for name in names)
    assert count == (0.25 * 2 * 32 if rate else 0)
    if rate:
        old = torch.cat([before[name] for name in names]).flatten()
        new = torch.cat([model.get_parameter(name).detach() for name in names]).flatten()
        assert (new - old).norm() <= rate * old.norm()
    artifact.revert()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("share", [0.2, 0.7])
def test_the_rows_are_those_a_loop_over_weight_vectors_would_take(share: float) -> None:
    drawn = torch.Generator().manual_seed(0)
    shapes = {"a": (7, 5), "b": (4, 9)}
    one, other = ({name: torch.randn(shape, generator=drawn) for name, shape in shapes.items()} for _ in "12")
    cosines = {
        (name, row): float(one[name][row] @ other[name][row] / one[name][row].norm() / other[name][row].norm())
        for name in shapes
        for row in range(shapes[name][0])
    }
    expected = sorted(sorted(cosines, key=cosines.__getitem__)[: round(share * 11)])
    found = least_alike(one, other, share)
    assert sorted((name, row) for name, rows in found.items() for row in rows.tolist()) == expected


def pcgu(model: Any, tokenizer: Any, data: UnlearningData, share: float = 1.0) -> dict[str, torch.Tensor]:
    """What one step over all or some rows adds to each output matrix."""
    names = [f"model.layers.{n}.mlp.down_proj.weight" for n in range(2)]
    before = {name: model.get_parameter(name).detach().clone() for name in names}
    result_of(unlearn(model, tokenizer, data, methods.build("pcgu", {"share": share, "rate": 0.1}, steps=1)))
    return {name: model.get_parameter(name).detach() - before[name] for name in names}


def answering(data: UnlearningData, forget: str, retain: str) -> UnlearningData:
    given = {
        split: tuple(replace(row, output=f"{word} {n}") for n, row in enumerate(getattr(data, split)))
        for split, word in (("forget", forget), ("retain", retain))
    }
    return replace(data, **given, general=())  # type: ignore[arg-type]


def test_equal_answers_leave_no_contrast(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    moved = pcgu(tiny_model(), tiny_tokenizer, answering(tiny_data, "Zed", "Zed"))
    assert not any(change.any() for change in moved.values())


def test_over_all_rows_it_is_a_plain_step_and_exchanging_the_answers_turns_it_round(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """theta -= length (g_true - g_other), with one length for all: a step of gradient descent."""
    there = answering(tiny_data, "Wux", "Qux")
    model = tiny_model()
    weights = {name: p for name, p in model.named_parameters() if name.endswith("down_proj.weight")}
    size = sum(float(p.detach().square().sum()) for p in weights.values()) ** 0.5
    gap = 0.0
    for data, sign in ((there, 1), (answering(tiny_data, "Qux", "Wux"), -1)):
        rows = [encode_example(tiny_tokenizer, row) for row in data.forget]
        gap = (
            gap
            + sign
            * answers(model, collate(rows, 1))
            .logits_NV.gather(1, torch.tensor([[t] for row in rows for t in row.ids[row.num_prompt :]]))
            .mean()
        )
    slopes = torch.autograd.grad(gap, list(weights.values()))  # type: ignore[arg-type]
    length = 0.1 * size / sum(float(slope.square().sum()) for slope in slopes) ** 0.5
    moved = pcgu(tiny_model(), tiny_tokenizer, there)
    back = pcgu(tiny_model(), tiny_tokenizer, answering(tiny_data, "Qux", "Wux"))
    for name, slope in zip(weights, slopes, strict=True):
        torch.testing.assert_close(moved[name], -length * slope, atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(back[name], -moved[name], atol=1e-5, rtol=1e-3)
