"""Weights kept in float32 and computed with in bfloat16: the one adds up small steps, the other is fast.

bfloat16 has 8 significant bits, so that a weight of 0.02 moves by 0.0001 or not at all, and AdamW moves it by
about its learning rate a step. Weights that train are therefore float32, and what computes with them takes a
copy for the length of the call (master weights: Micikevicius et al. 2017, arXiv 1710.03740): gradients arrive
in float32 too. A copy rounded to the nearest would be the old weight until half a step of bfloat16 is made,
and the training would not see what it has done; so a weight is rounded up as often as it is near to the upper
one (stochastic rounding: Gupta et al. 2015, arXiv 1502.02551).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import torch

from unlearn_core.models.inference.forward import unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Given = ParamSpec("Given")
Result = TypeVar("Result")


def training_dtype(model: PreTrainedModel) -> torch.dtype:
    """What a training of `model` computes in: the type of its weights, for float32 on a GPU bfloat16."""
    held: torch.dtype = model.dtype
    return torch.bfloat16 if held == torch.float32 and model.device.type == "cuda" else held


def compute_in(model: PreTrainedModel, dtype: torch.dtype) -> Callable[[], None]:
    """Let every module of `model` compute with copies of its weights in `dtype`, where they are of another
    floating type; what is returned ends that. The parameters stay as they are, and their gradients too."""
    inner = unwrap(model)
    undo: list[tuple[torch.nn.Module, str, bool, object]] = []

    def put(module: torch.nn.Module, name: str, value: object) -> None:
        undo.append((module, name, name in vars(module), getattr(module, name, None)))
        setattr(module, name, value)

    for module in inner.modules():
        if any(_other(p, dtype) for p in module._parameters.values()):
            put(module, "forward", _with_copies(module, module.forward, dtype))
        if hasattr(module, "cast_input_dtype_enabled"):  # peft would compute its adapters in float32
            put(module, "cast_input_dtype_enabled", False)
    put(inner, "computes_in", dtype)

    def end() -> None:
        for module, name, own, value in reversed(undo):
            if own:
                setattr(module, name, value)
            else:
                delattr(module, name)

    return end


def _other(parameter: torch.Tensor | None, dtype: torch.dtype) -> bool:
    return parameter is not None and parameter.is_floating_point() and parameter.dtype != dtype


def _with_copies(module: Any, forward: Callable[Given, Result], dtype: torch.dtype) -> Callable[Given, Result]:
    def run(*inputs: Given.args, **settings: Given.kwargs) -> Result:
        held = {name: p for name, p in module._parameters.items() if _other(p, dtype)}
        module._parameters.update({name: to_compute_with(p, dtype) for name, p in held.items()})
        try:
            return forward(*inputs, **settings)
        finally:
            module._parameters.update(held)

    return run


def to_compute_with(parameter: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A weight in `dtype`, with a gradient in its own type; itself where it is of `dtype` already."""
    if parameter.dtype == torch.float32 and dtype == torch.bfloat16 and not parameter.is_meta:
        copy: torch.Tensor = _Rounded.apply(parameter)
        return copy
    return parameter.to(dtype)


class _Rounded(torch.autograd.Function):
    """`rounded`, with the gradient of the identity."""

    @staticmethod
    def forward(context: object, weights: torch.Tensor) -> torch.Tensor:
        return rounded(weights)

    @staticmethod
    def backward(context: object, slope: torch.Tensor) -> torch.Tensor:
        return slope.float()


@torch.no_grad()
def rounded(weights: torch.Tensor) -> torch.Tensor:
    """float32 `weights` in bfloat16, each rounded up or down as often as it is near to either, so that the sum
    of many keeps what none of them could; one that bfloat16 can hold stays as it is.

    What decides is a number that every place in a tensor has for good: the same weights always give the same
    copy, in a layer that is computed again and after a checkpoint too.
    """
    places = torch.Generator(weights.device).manual_seed(0)
    sums = torch.randint(1 << 16, weights.shape, generator=places, dtype=torch.int32, device=weights.device)
    sums += weights.contiguous().view(torch.int32)
    sums >>= 16  # bfloat16 is the upper half of float32
    return sums.to(torch.int16).view(torch.bfloat16)


@torch.no_grad()
def hold_in(model: torch.nn.Module, dtype: torch.dtype) -> None:
    """Turn the floating parameters of `model` into `dtype`, one after the other; buffers stay as they are. Used
    where nothing is lost: to float32, and back once the weights are the old ones."""
    for parameter in model.parameters():
        if _other(parameter, dtype):
            parameter.grad = None
            parameter.data = parameter.data.to(dtype)
