"""PCGU: which weight vectors it picks, and what it does to a model that knows its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.contrastive import least_alike, places, swapped
from unlearn_core.training.loop import unlearn


def finish(run: Any) -> Any:
    while True:
        try:
            next(run)
        except StopIteration as end:
            return end.value


def test_the_least_alike_rows_are_chosen_over_all_matrices() -> None:
    one = {"a": torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), "b": torch.tensor([[1.0, 1.0]])}
    other = {"a": torch.tensor([[-1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]), "b": torch.tensor([[1.0, 0.0]])}
    chosen = least_alike(one, other, 0.5)
    assert {name: rows.tolist() for name, rows in chosen.items()} == {"a": [0], "b": [0]}
    everything = least_alike(one, other, 1.0)  # but not the row without any gradient
    assert {name: rows.tolist() for name, rows in everything.items()} == {"a": [0, 1], "b": [0]}
    assert not any(len(rows) for rows in least_alike(one, one, 0.0).values())
    assert not any(len(rows) for rows in least_alike(one, one, 1.0).values())
    assert places(torch.tensor([0, 2]), 3).tolist() == [0, 1, 2, 6, 7, 8]


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
    artifact = finish(unlearn(model, tiny_tokenizer, data, method))
    names = [f"model.layers.{n}.mlp.down_proj.weight" for n in range(2)]
    count = sum(int((model.get_parameter(name) != before[name]).any(1).sum()) for name in names)
    assert count == (0.25 * 2 * 32 if rate else 0)
    if rate:
        old = torch.cat([before[name] for name in names]).flatten()
        new = torch.cat([model.get_parameter(name).detach() for name in names]).flatten()
        assert (new - old).norm() <= rate * old.norm()
    artifact.revert()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
