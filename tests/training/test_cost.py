"""What a step costs, counted in floating-point operations, against what each method declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from method_costs import CostMeter
from torch.utils.flop_counter import FlopCounterMode

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep

pytestmark = pytest.mark.slow

FREE = ("icul", "guard_prompt", "guard_input", "guard_output")  # nothing is computed to make them
# What is small beside the model it is added to must be so here too.
SMALL = {"eul": {"width": 2}, "uld": {"rank": 1}}


@pytest.fixture(scope="module")
def meter(tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData) -> CostMeter:
    held = tuple(replace(row, id=row.id.replace("retain", "hold")) for row in tiny_data.retain)
    many = tuple(replace(row, id=f"{n}{row.id}") for n in range(6) for row in tiny_data.retain)
    data = replace(tiny_data, retain=many, holdout=held, general=many[:8])
    fresh = lambda: tiny_model("llama", num_hidden_layers=6)  # noqa: E731
    return CostMeter(fresh, tiny_tokenizer, data, steps=1, settings=SMALL)


@pytest.mark.parametrize("name", [name for name in methods.REGISTRY if name != "revs"])
def test_the_declared_cost_is_what_a_step_takes(meter: CostMeter, name: str) -> None:
    found = meter.relative(name)
    assert found == pytest.approx(0 if name in FREE else methods.get(name).info.cost, rel=0.15)


def test_revs_takes_the_passes_and_readings_of_its_definition(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """Its share of a step depends on the vocabulary. For each token: the prefix twice (once before and once
    after the edit of a layer), and in each layer the words of the firing neurons, of those moved and of
    their sums, twice: (considered + 3 neurons + 4) readings of 2 V D operations at most."""
    model = tiny_model("llama")
    settings = {"rank": 0.9, "neuron_rank": 0.95, "considered": 12, "neurons": 6}
    run = unlearn(model, tiny_tokenizer, tiny_data, methods.build("revs", settings), probe_ids=())
    next(run)
    with FlopCounterMode(display=False) as counter:
        prefixes = [record.tokens // 2 for record in run if isinstance(record, LoopStep)]
    config = model.config
    width, words, layers = config.hidden_size, 2 * config.vocab_size * config.hidden_size, 2
    token = 8 * width**2 + 6 * width * config.intermediate_size
    passes = sum(2 * layers * (T * token + 4 * T * T * width) for T in prefixes)
    readings = len(prefixes) * (layers * (12 + 3 * 6 + 4) + 1) * words
    assert passes / 2 < counter.get_total_flops() <= passes + readings
