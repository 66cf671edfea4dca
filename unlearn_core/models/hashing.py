"""One hash for one set of weights, so that a score can never be shown beside another checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch

from unlearn_core.models.adapters import plain_name
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.split import own, whole


def weights_hash(model: torch.nn.Module) -> str:
    """SHA-256 (hex) over the sorted name, dtype, shape and bytes of everything `state_dict` holds.

    Tied tensors count once. The device does not matter; the dtype does, because bfloat16 weights answer
    differently from float32 ones. Of a peft model the active adapter and its strength count too; with
    the adapter switched off the hash is the base model's.
    """
    digest, model = hashlib.sha256(), unwrap(model)
    for name, tensor in sorted(_tensors(model), key=lambda item: item[0]):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = whole(tensor).reshape(-1).contiguous()
        digest.update(flat.view(torch.uint8).cpu().numpy().data)
    for name, strength in sorted(_strengths(model)):
        digest.update(f"{name}\0{strength!r}\0".encode())
    return digest.hexdigest()


def _tensors(model: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    idle = tuple(_idle_adapter_layers(model))
    seen: set[tuple[object, ...]] = set()
    for name, tensor in sorted(model.state_dict().items()):
        if name.startswith(idle) and ".lora_" in name:
            continue
        part = own(tensor)
        place = (part.device, part.data_ptr(), part.storage_offset(), tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            continue
        seen.add(place)
        yield plain_name(name), tensor


def _idle_adapter_layers(model: torch.nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if hasattr(module, "base_layer") and getattr(module, "disable_adapters", False):
            yield name + "."


def _strengths(model: torch.nn.Module) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    for name, module in model.named_modules():
        if hasattr(module, "base_layer") and not getattr(module, "disable_adapters", False):
            yield plain_name(name), sorted(getattr(module, "scaling", {}).items())
