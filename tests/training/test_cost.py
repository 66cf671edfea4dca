"""What a step costs, counted in floating-point operations, against what each method declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.training.flops import CostMeter

FREE = ("icul", "guard_prompt", "guard_input", "guard_output")  # nothing is computed to make them
ANSWER = " whose name is known to few of those who ask for it"  # about as long as a refusal
# What is small beside the model it is added to, or as long as the answers are, must be so here too.
SMALL = {
    "eul": {"width": 2}, "uld": {"rank": 1}, "altpo": {"max_new_tokens": 16},
    "revs": {"rank": 0.9, "neuron_rank": 0.95},
}  # fmt: skip


@pytest.fixture(scope="module")
def meter(tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData) -> CostMeter:
    rows = {
        split: tuple(replace(row, output=row.output + ANSWER) for row in getattr(tiny_data, split))
        for split in ("forget", "retain")
    }
    held = tuple(replace(row, id=row.id.replace("retain", "hold")) for row in rows["retain"])
    many = tuple(replace(row, id=f"{n}{row.id}") for n in range(6) for row in rows["retain"])
    data = replace(tiny_data, forget=rows["forget"], retain=many, holdout=held, general=many[:2])
    fresh = lambda: tiny_model("llama", num_hidden_layers=6)  # noqa: E731
    return CostMeter(fresh, tiny_tokenizer, data, settings=SMALL)


@pytest.mark.parametrize("name", methods.REGISTRY)
def test_the_declared_cost_is_what_a_step_takes(meter: CostMeter, name: str) -> None:
    found = meter.relative(name)
    assert found == pytest.approx(0 if name in FREE else methods.get(name).info.cost, rel=0.15)
