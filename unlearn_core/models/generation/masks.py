"""Padding on the left, and which positions may see which: what generation and shared prefixes have in common.

Legend: B rows, T positions, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from unlearn_core.models.inference.forward import computing_dtype, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def attention_mask(model: PreTrainedModel, allowed_BQK: torch.Tensor) -> torch.Tensor:
    """A prepared mask (B, 1, Q, K) from what each query may see, in the form the model's attention takes."""
    allowed = allowed_BQK[:, None]
    if unwrap(model).config._attn_implementation != "eager":
        return allowed
    dtype = computing_dtype(model)
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(~allowed, torch.finfo(dtype).min)


def left_pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, T) padded on the left, and which of them are real (B, T)."""
    width = max(len(row) for row in rows)
    ids_BT = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    length_B = torch.tensor([len(row) for row in rows])
    real_BT = torch.arange(width)[None] >= (width - length_B)[:, None]
    return ids_BT.to(device), real_BT.to(device)


def causal(real_BT: torch.Tensor) -> torch.Tensor:
    """What each position may see (B, T, T): real earlier positions and itself.

    Padding sees itself, because a softmax over nothing is NaN and would spread.
    """
    width = real_BT.shape[1]
    earlier_TT = torch.ones(width, width, dtype=torch.bool, device=real_BT.device).tril()
    itself_TT = torch.eye(width, dtype=torch.bool, device=real_BT.device)
    return earlier_TT & real_BT[:, None, :] | itself_TT
