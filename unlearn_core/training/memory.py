"""What makes large models trainable in little memory, each giving the same step.

Recomputation: a layer's activations are dropped after the forward pass and computed again when its
gradient is due (Chen et al., arXiv 1604.06174). Optimiser: AdamW, with moments in 8 bits that move to the
host when the GPU is full (Dettmers et al., arXiv 2110.02861 and 2305.14314), where bitsandbytes is there.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.checkpoint import checkpoint

from unlearn_core.models.adapters import LORA_FROM
from unlearn_core.models.forward import unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.999)  # of AdamW; weight decay is 0, because decay would change weights no loss asked to


@contextmanager
def recomputed(model: PreTrainedModel, on: bool) -> Iterator[None]:
    """Within it every layer's activations are recomputed for its gradient, where `on`.

    transformers recomputes only layers in training mode. That mode is set on the layer alone and not on
    what is inside it, so that dropout stays off.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    modules = unwrap(model).modules() if on else ()
    layers: list[Any] = [module for module in modules if isinstance(module, GradientCheckpointingLayer)]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
        layer.gradient_checkpointing, layer.training = True, True
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.gradient_checkpointing, layer.training = False, mode


def make_optimiser(
    parameters: Sequence[torch.nn.Parameter], learning_rate: float, device: torch.device
) -> torch.optim.Optimizer:
    """AdamW over `parameters`; its 8-bit paged form for many of them on a GPU."""
    settings: dict[str, Any] = {"lr": learning_rate, "betas": BETAS, "weight_decay": 0.0}
    if has_small_moments(sum(p.numel() for p in parameters), device):
        from bitsandbytes.optim import PagedAdamW8bit

        small: torch.optim.Optimizer = PagedAdamW8bit(parameters, **settings)
        return small
    return torch.optim.AdamW(parameters, fused=device.type in ("cpu", "cuda"), **settings)


def has_small_moments(num_trained: int, device: torch.device) -> bool:
    """Whether the optimiser keeps its moments in 8 bits."""
    wanted = device.type == "cuda" and num_trained >= LORA_FROM
    return wanted and importlib.util.find_spec("bitsandbytes") is not None
