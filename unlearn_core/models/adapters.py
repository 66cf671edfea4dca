"""Full weights or LoRA: which one, how it is put on, and how the plain weights are read back out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.inference.trials import plain_logits, remembered, sample_ids

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTERS = ("full", "lora")
LORA_FROM = 200_000_000  # parameters from which an adapter is the default: optimiser state would dominate
NAME = "lethe"
# Of these peft itself refuses what a fused kernel reads past any adapter.
_STATE_SPACE, _FUSED = ("falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"), ("out_proj", "conv1d")


def choose_adapter(model: PreTrainedModel, wanted: str | None = None, only: str | None = None) -> str:
    """`only` where the method can train nothing else, or `wanted`, or by size: LoRA from 200 million
    parameters. InputError for an unknown adapter, or one that the method cannot train."""
    if wanted is not None and wanted not in ADAPTERS:
        raise InputError("adapter", wanted, "is unknown", f"Use one of {', '.join(ADAPTERS)}.")
    if only is not None and wanted not in (None, only):
        raise InputError(
            "adapter", wanted, "is not what this method trains", "Leave the choice to it.", ("adapter", "auto")
        )
    large = sum(p.numel() for p in model.parameters()) >= LORA_FROM
    return only or wanted or ("lora" if large else "full")


def apply_lora(
    model: PreTrainedModel,
    rank: int = 16,
    seed: int = 0,
    trains: Callable[[str], bool] = lambda name: True,
) -> PeftModel:
    """Put a LoRA adapter (Hu et al. 2021) on every linear layer and expert except the output head.

    `trains` leaves out those whose weight, by its name, it refuses. Only the adapter's weights train; at
    the start it changes nothing (B = 0). `model` itself now runs with the adapter; `remove_lora` gives it back
    as it was.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank,
        lora_alpha=2 * rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=[*out_of_reach(unwrap(model)), *_refused(unwrap(model), trains)] or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[model.device] if model.device.type == "cuda" else []):
        torch.manual_seed(seed)
        try:
            return get_peft_model(model, config, adapter_name=NAME)
        except ValueError as error:
            problem = f"cannot be put on {type(model).__name__}: {error}"
            raise InputError("adapter", "lora", problem, "Use the adapter `full`.", ("adapter", "full")) from error


def out_of_reach(model: PreTrainedModel) -> list[str]:
    """Linear layers where an adapter would not act as it does once merged: a pass reads their weights without
    calling them, or they put out something else than the product with them. Found by a pass over a few tokens."""
    if model.device.type == "meta":
        return []
    return remembered(model, "layers out of an adapter's reach", _find_out_of_reach)


@torch.no_grad()
def _find_out_of_reach(model: PreTrainedModel) -> list[str]:
    called: dict[str, bool] = {}  # by name, whether what came out is what low-rank factors add to

    def look(name: str) -> Callable[[torch.nn.Module, tuple[object, ...], object], None]:
        return lambda module, args, output: called.update({name: _is_product(module, args, output)})

    modules = dict(model.named_modules())
    with ExitStack() as hooks:
        for name, module in modules.items():
            hooks.callback(module.register_forward_hook(look(name)).remove)
        plain_logits(model, sample_ids(model, 12))
    refused = _FUSED if getattr(model.config, "model_type", "") in _STATE_SPACE else ()
    return [
        name
        for name, module in modules.items()
        if isinstance(module, torch.nn.Linear)
        and (
            name.endswith(refused)
            # What lies in a module that was not called either, such as an expert no token went to, may be called yet.
            or not called.get(name, name.rpartition(".")[0] not in called and not _has_its_own_way(module))
        )
    ]


def _is_product(module: torch.nn.Module, args: tuple[Any, ...], output: object) -> bool:
    """Whether a linear layer's output is that of `torch.nn.Linear`; of another module, whether it is one tensor."""
    if not isinstance(output, torch.Tensor):
        return False
    if not isinstance(module, torch.nn.Linear) or not _has_its_own_way(module):
        return True
    plain = torch.nn.functional.linear(args[0], module.weight, module.bias) if args else None
    return plain is not None and plain.shape == output.shape and torch.allclose(plain, output, rtol=1e-2, atol=1e-3)


def _has_its_own_way(module: torch.nn.Linear) -> bool:
    """Whether an architecture multiplies this matrix in code of its own, which low-rank factors may not follow."""
    own = type(module)
    return own.__module__.startswith("transformers.models.") and own.forward is not torch.nn.Linear.forward


def _refused(model: PreTrainedModel, trains: Callable[[str], bool]) -> list[str]:
    linear = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return [name for name in linear if not trains(f"{name}.weight")]


def remove_lora(wrapped: PeftModel) -> PreTrainedModel:
    """Take the adapter off; the base weights were never touched."""
    base: PreTrainedModel = wrapped.unload()
    return base


def lora_layers(model: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    """Names (inside the transformers model) and layers that carry an adapter."""
    from peft.tuners.lora import LoraLayer

    for name, module in unwrap(model).named_modules():
        if isinstance(module, LoraLayer):
            yield name, module


@contextmanager
def adapters_off(model: torch.nn.Module) -> Iterator[bool]:
    """The weights beneath whatever adapters are on, meanwhile; whether there are any."""
    layers = [layer for _, layer in lora_layers(model) if not layer.disable_adapters]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield bool(layers)
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def plain_name(name: str) -> str:
    """The name a parameter has in the model without an adapter around it."""
    return name.replace(".base_layer", "")


def weight_of(layer: Any) -> tuple[str, torch.nn.Parameter]:
    """The parameter that a layer's adapter changes, and its last name: `weight`, or what experts call theirs."""
    leaf = getattr(layer, "parameter_name", "weight")
    return leaf, getattr(layer.get_base_layer(), leaf)


def plain_state(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """The state dict `model` would have if its adapter were merged, under the base model's own names."""
    merged = {f"{plain_name(name)}.{weight_of(layer)[0]}": layer for name, layer in lora_layers(model)}
    state = {}
    for key, value in unwrap(model).state_dict().items():
        if ".lora_" in f".{key}":
            continue
        name = plain_name(key)
        layer = merged.get(name)
        if layer is not None and not layer.disable_adapters:
            delta = layer.get_delta_weight(NAME)
            value = value + delta.to(value.dtype)
        state[name] = value
    return state
