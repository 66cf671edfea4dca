"""What a step costs, counted in floating-point operations, against what each method declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch.utils.flop_counter import FlopCounterMode

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.training.loop import unlearn

DEPTH = 6
COUNTED = (
    "grad_diff", "kl", "simnpo", "fpga", "global_weight", "wagle", "agad", "adv_npo", "rmu", "adaptive_rmu",
)  # fmt: skip


def flops(model: Any, tokenizer: Any, data: UnlearningData, name: str) -> float:
    """Operations of four steps, what is done before the first left out."""
    method = methods.build(name, {"batch_size": 4}, steps=4)
    run = unlearn(model, tokenizer, data, method, probe_ids=())
    next(run)
    with FlopCounterMode(display=False) as counter:
        for _ in run:
            pass
    return float(counter.get_total_flops())


@pytest.mark.parametrize("name", COUNTED)
def test_the_declared_cost_is_what_a_step_takes(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str
) -> None:
    plain = flops(tiny_model("llama", num_hidden_layers=DEPTH), tiny_tokenizer, tiny_data, "grad_ascent")
    own = flops(tiny_model("llama", num_hidden_layers=DEPTH), tiny_tokenizer, tiny_data, name)
    assert own / plain == pytest.approx(methods.get(name).info.cost, rel=0.15)
