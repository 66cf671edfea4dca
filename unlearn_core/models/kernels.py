"""Norm, rotary positions and SwiGLU as one GPU kernel each, where Liger is installed (`pip install .[gpu]`).

Hsu et al. 2024, arXiv 2410.10989. Liger puts its kernels into a model and, for models made later, into transformers'
own module. The latter is taken back: a model on the CPU, such as the copy that proves what was saved, has no use for
kernels of a GPU. A rotary function has no model of its own, so it goes by where its tensors are.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from unlearn_core.models.inference.packed import tuned

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Result = TypeVar("Result")
# The losses here go through the head by themselves, a block at a time.
_LEFT_OUT = {"cross_entropy": False, "fused_linear_cross_entropy": False}


def without_cudnn_attention(device: torch.device) -> None:
    """cuDNN's attention, which torch prefers on the newest GPUs, makes a plan for every shape it meets, and no two
    batches of ours have the same."""
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def fuse(model: PreTrainedModel) -> None:
    """Let `model` compute with Liger's kernels where it is on a GPU, they are installed and fit it; and without
    cuDNN's attention in any case."""
    without_cudnn_attention(model.device)
    if not tuned(model.device) or importlib.util.find_spec("liger_kernel") is None:
        return
    module: Any = sys.modules[type(model).__module__]
    before = dict(vars(module))
    _put_in(model, module)
    for name, plain in before.items():
        fused = vars(module)[name]
        if fused is not plain:
            setattr(module, name, plain if isinstance(plain, type) else _by_place(fused, plain))


def _put_in(model: PreTrainedModel, module: Any) -> None:
    from liger_kernel.transformers import LigerSwiGLUMLP, _apply_liger_kernel_to_instance, liger_rotary_pos_emb

    if model.config.model_type != "olmo":
        _apply_liger_kernel_to_instance(model=model, **_LEFT_OUT)
        return
    # Liger has no list for the first OLMo, whose positions and products are Llama's; its norm has no weights.
    if not hasattr(module.apply_rotary_pos_emb, "plain"):
        module.apply_rotary_pos_emb = liger_rotary_pos_emb
    if model.config.hidden_act == "silu":
        for layer in model.model.layers:
            layer.mlp.forward = MethodType(LigerSwiGLUMLP.forward, layer.mlp)


def _by_place(fused: Callable[..., Result], plain: Callable[..., Result]) -> Callable[..., Result]:
    """`fused` for tensors on a GPU and `plain` for others; of a second model's, the plain one beneath."""
    plain = getattr(plain, "plain", plain)

    @functools.wraps(plain)
    def chosen(query: torch.Tensor, *more: object, **settings: object) -> Result:
        return (fused if query.device.type == "cuda" else plain)(query, *more, **settings)

    chosen.plain = plain  # type: ignore[attr-defined]
    return chosen
