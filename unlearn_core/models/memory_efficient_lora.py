"""A linear layer with low-rank factors that keeps less for its backward pass than peft's.

    y = x W^T + s (x A^T) B^T        (Hu et al. 2021, arXiv 2106.09685, eq. 3)

peft adds the two products out of place and keeps both factors' inputs. Here the second is added into the first, only
`x` is kept, and the thin product x A^T is made again when its gradient is due. Legend: N positions, I and O features
in and out, R rank.
"""

from __future__ import annotations

from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch.nn import functional as F

from unlearn_core.models.precision import to_compute_with


class MemoryEfficientLoraLinear(LoraLinear):
    """peft's layer; a pass with gradient through its one adapter is a `_LoraProduct`, any other peft's own code."""

    def forward(self, x: torch.Tensor, *args: object, **kwargs: object) -> torch.Tensor:
        name, base = self.active_adapters[0], self.base_layer
        a_RI: torch.Tensor = self.lora_A[name].weight  # type: ignore[assignment]
        b_OR: torch.Tensor = self.lora_B[name].weight  # type: ignore[assignment]
        weight_OI = base.weight
        elsewhere = self.disable_adapters or self.merged or args or kwargs or not torch.is_grad_enabled()
        # A hook of the matrix, such as one that fetches its weights, wants the matrix itself called.
        hooked = "forward" in vars(base) or base._forward_pre_hooks or base._forward_hooks
        # Factors that are kept in float32 are computed with in the matrix's type where `compute_in` says so.
        alike = x.dtype == weight_OI.dtype and (a_RI.dtype == x.dtype or not self.cast_input_dtype_enabled)
        if elsewhere or hooked or not alike:
            result: torch.Tensor = super().forward(x, *args, **kwargs)
            return result
        found: torch.Tensor = _LoraProduct.apply(
            x,
            weight_OI,
            base.bias,
            to_compute_with(a_RI, x.dtype),
            to_compute_with(b_OR, x.dtype),
            self.scaling[name],
        )
        return found


class _LoraProduct(torch.autograd.Function):
    """The layer's output, and its gradient for x, A and B; the matrix and its bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight_OI: torch.Tensor,
        bias_O: torch.Tensor | None,
        a_RI: torch.Tensor,
        b_OR: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        y = F.linear(x, weight_OI, bias_O)
        y.view(-1, y.shape[-1]).addmm_(x.reshape(-1, x.shape[-1]) @ a_RI.t(), b_OR.t(), alpha=scale)
        ctx.save_for_backward(x, weight_OI, a_RI, b_OR)
        ctx.scale = scale
        return y

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight_OI, a_RI, b_OR = ctx.saved_tensors
        x_NI, grad_NO = x.reshape(-1, x.shape[-1]), grads[0].reshape(-1, grads[0].shape[-1])
        grad_NR = (grad_NO @ b_OR).mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (grad_NO @ weight_OI).addmm_(grad_NR, a_RI).view_as(x)
        grad_b_OR = (grad_NO.t() @ (x_NI @ a_RI.t())).mul_(ctx.scale)
        return grad_x, None, None, grad_NR.t() @ x_NI, grad_b_OR, None


def save_activation_memory(model: torch.nn.Module) -> None:
    """Let the adapter that `apply_lora` put on `model` keep less for its backward pass, wherever it is around an
    ordinary matrix; what is computed stays the same but for rounding."""
    for module in model.modules():
        if type(module) is LoraLinear and type(module.base_layer) is torch.nn.Linear:
            module.__class__ = MemoryEfficientLoraLinear
