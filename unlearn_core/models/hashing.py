"""One hash for one set of weights, so that a score can never be shown beside another checkpoint's."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

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
    adapted: dict[str, Any] = {name: one for name, one in model.named_modules() if hasattr(one, "base_layer")}
    idle = tuple(f"{name}." for name, layer in adapted.items() if layer.disable_adapters)
    for name, tensor in sorted(_tensors(model, idle), key=lambda item: item[0]):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = whole(tensor).reshape(-1).contiguous()
        digest.update(flat.view(torch.uint8).cpu().numpy().data)
    active = [(plain_name(name), layer) for name, layer in adapted.items() if not layer.disable_adapters]
    for name, strength in sorted((name, sorted(getattr(layer, "scaling", {}).items())) for name, layer in active):
        digest.update(f"{name}\0{strength!r}\0".encode())
    return digest.hexdigest()


def _tensors(model: torch.nn.Module, idle: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor]]:
    """What the state holds, each memory once, without the adapters in `idle` layers."""
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
