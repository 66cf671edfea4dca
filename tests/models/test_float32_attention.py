"""Attention that a gradient passes, in float32 on a CPU in half precision: the same function, nearer to the truth."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch

from unlearn_core.models.inference.packed import NAME, float32_attention


def slopes(model: Any, ids_BT: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """The gradient of the loss, all parameters end to end."""
    model.zero_grad()
    model(input_ids=ids_BT, attention_mask=mask, labels=ids_BT, use_cache=False).loss.backward()
    return torch.cat([parameter.grad.float().flatten() for parameter in model.parameters()])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gpt_neox"])
def test_the_gradient_is_that_of_the_same_model(tiny_model: Callable[..., Any], kind: str, masked: bool) -> None:
    model = tiny_model(kind)
    ids_BT = torch.randint(0, model.config.vocab_size, (3, 24), generator=torch.Generator().manual_seed(0))
    exact_P = slopes(model, ids_BT, None)
    model.to(torch.bfloat16)
    width = ids_BT.shape[1]
    mask = None
    if masked:  # as rows that hold several sequences bring it: of the model's own type, one for each row
        allowed = torch.ones(width, width, dtype=torch.bool).tril().expand(3, 1, width, width)
        mask = torch.zeros(allowed.shape, dtype=torch.bfloat16).masked_fill(~allowed, torch.finfo(torch.bfloat16).min)
    with float32_attention(model):
        assert model.config._attn_implementation == NAME
        ours_P = slopes(model, ids_BT, mask)
    assert model.config._attn_implementation == "sdpa"
    theirs_P = slopes(model, ids_BT, mask)
    error, usual = (float((found_P - exact_P).norm() / exact_P.norm()) for found_P in (ours_P, theirs_P))
    assert error < 0.05
    assert error < usual * 1.2


def test_without_a_gradient_nothing_is_different(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama").to(torch.bfloat16)
    ids_BT = torch.arange(12)[None]
    found = []
    for context in (nullcontext(), float32_attention(model)):
        with context, torch.no_grad():
            found.append(model(input_ids=ids_BT, use_cache=False).logits)
    assert torch.equal(*found)


def test_a_model_in_float32_attends_as_before(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama")
    with float32_attention(model):
        assert model.config._attn_implementation == "sdpa"
