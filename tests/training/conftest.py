"""Tiny models that know the tiny data by heart, trained once and copied for each test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.types import UnlearningData
from unlearn_core.models.inference.forward import token_nll
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import forward, split_parts


@pytest.fixture(scope="session")
def memorised(tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData) -> Callable[..., Any]:
    """`memorised("olmo2")`: a fresh copy of a model trained on forget, retain and general rows."""
    states: dict[str, dict[str, torch.Tensor]] = {}

    def fresh(arch: str = "olmo2") -> Any:
        model = tiny_model(arch)
        if arch not in states:
            rows = [
                encode_example(tiny_tokenizer, row, n)
                for n, row in enumerate((*tiny_data.forget, *tiny_data.retain, *tiny_data.general))
            ]
            layout = pack_parts(model, {"": rows}, pad_id_of(tiny_tokenizer))
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
            for _ in range(60):
                optimiser.zero_grad()
                token_nll(split_parts(layout, forward(model, layout))[""]).mean().backward()
                optimiser.step()
            model.zero_grad()
            states[arch] = {key: value.clone() for key, value in model.state_dict().items()}
        model.load_state_dict(states[arch])
        return model

    return fresh
