"""Attention over sequences laid end to end in one row, each seeing only itself: no padding, no mask.

    a a a a b b b c c c c c      positions 0 1 2 3 0 1 2 0 1 2 3 4, bounds 0 4 7 12

torch's own FlashAttention takes the sequences' bounds, so that nothing is computed that is not asked for. It is
called by the operation beneath `torch.nn.attention.varlen`, which every torch from 2.8 has with its gradient; the
module's own arguments differ from release to release. It runs on CUDA in half precision; elsewhere rows are padded
and masked (see `training.layout`), and what is here goes sequence by sequence, which says the same.
Legend: T tokens of all sequences, S sequences, H heads, D head width.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from unlearn_core.errors import first_line
from unlearn_core.models.inference.forward import computing_dtype, unwrap
from unlearn_core.models.inference.positions import head_width, key_value_heads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "lethe"  # the attention implementation's, to transformers
_HALF = (torch.bfloat16, torch.float16)
_PLAIN = "LETHE_PLAIN_GPU"  # 1 switches off what only a GPU has, to look for a fault


def tuned(device: torch.device) -> bool:
    """Whether what only a GPU has is used on `device`."""
    return device.type == "cuda" and os.environ.get(_PLAIN) != "1"


def lies_flat(model: PreTrainedModel) -> bool:
    """Whether sequences of `model` are to lie end to end; if so, it attends by `attend` from here on."""
    if why_padded(model) is not None:
        return False
    _attend_here(model)
    return True


def _attend_here(model: PreTrainedModel) -> None:
    """Let the model attend by `attend`."""
    config = unwrap(model).config
    if config._attn_implementation != NAME:
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(NAME, attend)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        config._attn_implementation = NAME


@contextmanager
def float32_attention(model: PreTrainedModel) -> Iterator[None]:
    """Inside the `with`, attention that a gradient passes is computed in float32 where the model is on a CPU in half
    precision: the gradient of torch's attention there takes two to four times as long for rows of up to some 200
    tokens, and in float16 up to ten times as long for any; its forward pass takes the same."""
    inner = unwrap(model)
    before = inner.config._attn_implementation
    fused = before == "sdpa" and inner._supports_attention_backend
    if not fused or inner.device.type != "cpu" or computing_dtype(inner) not in _HALF:
        yield
        return
    _attend_here(model)
    try:
        yield
    finally:
        inner.config._attn_implementation = before


def bounded(bounds_S1: torch.Tensor, longest: int) -> dict[str, torch.Tensor | int]:
    """What tells a model where sequences begin and end (0, then each end), by transformers' names."""
    bounds, device = bounds_S1.to(torch.int32), bounds_S1.device
    return {
        # The mask has no values: a mask of four dimensions is passed on to `attend` as it is, where none
        # would be replaced by one of T x T.
        "attention_mask": torch.empty(1, 1, 0, 0, device=device),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int = 0,
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention (1, T, H, D) of (1, H, T, D) within each sequence; without bounds, as SDPA does it."""
    if cu_seq_lens_q is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        dtype, states = query.dtype, (query, key, value)
        if query.device.type == "cpu" and dtype in _HALF and query.requires_grad:  # see `float32_attention`
            states = query.float(), key.float(), value.float()
            mask = mask.float() if mask is not None and mask.dtype in _HALF else mask
        found: torch.Tensor = sdpa_attention_forward(module, *states, mask, scaling=scaling, **settings)[0]
        return found.to(dtype), None
    attend_each = _flash if query.device.type == "cuda" else _one_by_one
    query_THD, key_THD, value_THD = (states[0].transpose(0, 1) for states in (query, key, value))
    return attend_each(query_THD, key_THD, value_THD, cu_seq_lens_q, max_length_q, scaling)[None], None


def _flash(
    query_THD: torch.Tensor,
    key_THD: torch.Tensor,
    value_THD: torch.Tensor,
    bounds_S1: torch.Tensor,
    longest: int,
    scaling: float | None,
) -> torch.Tensor:
    attend_flat = torch.ops.aten._flash_attention_forward
    bounds, widths = (bounds_S1, bounds_S1), (longest, longest)
    out_THD: torch.Tensor = attend_flat(
        query_THD, key_THD, value_THD, *bounds, *widths, 0.0, True, False, scale=scaling
    )[0]
    return out_THD


def _one_by_one(
    query_THD: torch.Tensor,
    key_THD: torch.Tensor,
    value_THD: torch.Tensor,
    bounds_S1: torch.Tensor,
    longest: int,
    scaling: float | None,
) -> torch.Tensor:
    sizes = bounds_S1.diff().tolist()
    grouped = query_THD.shape[1] != key_THD.shape[1]
    parts = (states.transpose(0, 1).split(sizes, dim=1) for states in (query_THD, key_THD, value_THD))
    outs = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=grouped)
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outs, dim=1).transpose(0, 1)


def why_padded(model: PreTrainedModel) -> str | None:
    """Why sequences of `model` cannot lie end to end, in words that follow "because"; None where they can."""
    inner = unwrap(model)
    if not tuned(inner.device):
        return "only a GPU has what it takes"
    text = inner.config.get_text_config()
    width = head_width(text)
    if not inner._supports_attention_backend:
        return f"{type(inner).__name__} attends by code of its own"
    if getattr(text, "attn_logit_softcapping", None):
        return "its attention scores are capped"
    if (getattr(text, "v_head_dim", None) or width) != width:
        return "its values are not as wide as its keys"
    grouped = key_value_heads(text) != text.num_attention_heads
    return _fault(inner.device, computing_dtype(inner), width, grouped)


@functools.cache
def _fault(device: torch.device, dtype: torch.dtype, width: int, grouped: bool) -> str | None:
    """What this torch on this GPU says against it: tried once, forward and backward."""
    bounds_S1 = torch.tensor([0, 3, 8], dtype=torch.int32, device=device)
    query, key, value = (
        torch.randn(8, heads, width, device=device, dtype=dtype, requires_grad=True)
        for heads in ((4, 2, 2) if grouped else (2, 2, 2))
    )
    try:
        with torch.enable_grad():
            _flash(query, key, value, bounds_S1, 5, None).sum().backward()
    except Exception as error:  # not built in, too old a GPU, no half precision: each its own error
        return f"torch {torch.__version__} cannot on this GPU ({first_line(error)})"
    return None if query.grad is not None and query.grad.isfinite().all() else "its gradient is not finite"
