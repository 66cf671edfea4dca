"""Full weights or LoRA: which one, how it is put on, and how the plain weights are read back out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError
from unlearn_core.models.forward import unwrap

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTERS = ("full", "lora")
LORA_FROM = 200_000_000  # parameters from which an adapter is the default: optimiser state would dominate
NAME = "lethe"


def choose_adapter(model: PreTrainedModel, wanted: str | None = None, only: str | None = None) -> str:
    """`only` where the method can train nothing else, or `wanted`, or by size: LoRA from 200 million
    parameters. InputError for an unknown adapter, or one that the method cannot train."""
    if wanted is not None and wanted not in ADAPTERS:
        raise InputError("adapter", wanted, "is unknown", f"Use one of {', '.join(ADAPTERS)}.")
    if only is not None and wanted not in (None, only):
        raise InputError("adapter", wanted, "is not what this method trains", "Leave the choice to it.")
    large = sum(p.numel() for p in model.parameters()) >= LORA_FROM
    return only or wanted or ("lora" if large else "full")


def apply_lora(model: PreTrainedModel, rank: int = 16, alpha: int | None = None, seed: int = 0) -> PeftModel:
    """Put a LoRA adapter (Hu et al. 2021) on every linear layer except the output head.

    Only the adapter's weights train; at the start it changes nothing (B = 0). `alpha` defaults to
    2 * rank. `model` itself now runs with the adapter; `remove_lora` gives it back as it was.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=0.0, target_modules="all-linear",
        task_type="CAUSAL_LM",
    )  # fmt: skip
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config, adapter_name=NAME)
        except ValueError as error:
            problem = f"cannot be put on {type(model).__name__}: {error}"
            raise InputError("adapter", "lora", problem, "Use the adapter `full`.") from error


def remove_lora(wrapped: PeftModel) -> PreTrainedModel:
    """Take the adapter off; the base weights were never touched."""
    base: PreTrainedModel = wrapped.unload()
    return base


def lora_layers(model: Any) -> Iterator[tuple[str, Any]]:
    """Names (inside the transformers model) and layers that carry an adapter."""
    from peft.tuners.lora import LoraLayer

    for name, module in unwrap(model).named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


def plain_state(model: Any) -> dict[str, torch.Tensor]:
    """The state dict `model` would have if its adapter were merged, under the base model's own names."""
    merged = dict(lora_layers(model))
    state = {}
    for key, value in unwrap(model).state_dict().items():
        name, _, leaf = key.rpartition(".")
        if ".lora_" in f".{name}":
            continue
        name = name.removesuffix(".base_layer")
        layer = merged.get(name)
        if layer is not None and leaf == "weight" and not layer.disable_adapters:
            delta = layer.get_delta_weight(NAME)
            value = (value.to(delta.dtype) + delta).to(value.dtype)
        state[f"{name}.{leaf}"] = value
    return state
