"""What makes large models trainable in little memory, each giving the same step.

Recomputation: a layer's activations are dropped after the forward pass and computed again when its
gradient is due (Chen et al., arXiv 1604.06174): a third more arithmetic in a step, so that a GPU
does it only once its memory has run out. Optimiser: AdamW; where a GPU has no room for its moments and
bitsandbytes is there, with moments in 8 bits that move to the host (Dettmers et al., arXiv 2110.02861 and
2305.14314), which is not quite the same step.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils.checkpoint import checkpoint

from unlearn_core.models.adapters import LORA_FROM
from unlearn_core.models.files.model_files import free_memory
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.inference.packed import tuned
from unlearn_core.system.machine import distributed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BETAS = (0.9, 0.999)  # of AdamW; weight decay is 0, because decay would change weights no loss asked to


class StepSplit(NamedTuple):
    """How a step is made to fit into memory."""

    micro_batch: int | None  # sequences in the model at a time; None for all
    recompute: bool
    may_recompute: bool = False  # what is tried first when memory runs out

    @classmethod
    def first(cls, micro_batch: int | None, recompute: bool, device: torch.device) -> StepSplit:
        """A machine whose memory ran out ends the process, a GPU only says so."""
        daring = recompute and tuned(device) and distributed.size() == 1  # others would wait for the step as it is
        return cls(micro_batch, recompute and not daring, daring)

    def tighter(self, present: int) -> StepSplit:
        """The next thing to try, where `present` sequences were too many."""
        if self.may_recompute:
            return StepSplit(self.micro_batch, recompute=True)
        return self._replace(micro_batch=present // 2)

    def told(self, before: StepSplit) -> str:
        """What changed, for people."""
        measure = "each layer is computed again for its gradient"
        if self.micro_batch != before.micro_batch:
            measure = f"{self.micro_batch} sequences at a time"
        return f"Memory ran out: from here on {measure}; the step is unchanged."


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
    """AdamW over `parameters`; its 8-bit paged form where a GPU has no room for more."""
    settings: dict[str, Any] = {"lr": learning_rate, "betas": BETAS, "weight_decay": 0.0}
    if has_small_moments(sum(p.numel() for p in parameters), device):
        from bitsandbytes.optim import PagedAdamW8bit

        small: torch.optim.Optimizer = PagedAdamW8bit(parameters, **settings)
        return small
    return torch.optim.AdamW(parameters, fused=device.type in ("cpu", "cuda"), **settings)


def has_small_moments(num_trained: int, device: torch.device) -> bool:
    """Whether the optimiser keeps its moments in 8 bits: two of them and a gradient in float32 do not fit."""
    wanted = device.type == "cuda" and num_trained >= LORA_FROM and 12 * num_trained > free_memory(device)
    return wanted and importlib.util.find_spec("bitsandbytes") is not None
