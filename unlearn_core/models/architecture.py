"""Where the parts of a decoder are, by attribute: OLMo, OLMo 2, Llama, Qwen and GPT-NeoX name them alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unlearn_core.models.inference.forward import above_layers, has_layers, layers, unwrap

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_FINAL_NORMS = ("norm", "final_layer_norm", "ln_f", "final_layernorm", "norm_f")


def mlp_outputs(model: PreTrainedModel) -> dict[str, Any]:
    """By parameter name, the matrix of each layer whose inputs are the MLP's neurons (down projection).

    Column j of the matrix is what neuron j writes, its value vector. Empty unless every layer has one.
    """
    if not has_layers(model):
        return {}
    names = {id(module): name for name, module in unwrap(model).named_modules()}
    found = [[m for name, m in layer.named_modules() if _is_mlp_output(name, m)] for layer in layers(model)]
    if any(len(each) != 1 for each in found):
        return {}
    return {f"{names[id(module)]}.weight": module for (module,) in found}


def mlp_weights(model: PreTrainedModel) -> dict[str, torch.nn.Parameter]:
    """By name, the matrices into and out of each layer's MLP neurons. Empty where `mlp_outputs` is."""
    blocks = {name.rsplit(".", 2)[0] for name in mlp_outputs(model)}
    return {name: w for name, w in model.named_parameters() if w.ndim == 2 and name.rsplit(".", 2)[0] in blocks}


def final_norm(model: PreTrainedModel) -> torch.nn.Module | None:
    """The norm before the output head; None where there is none by a known name."""
    body = above_layers(model)
    return next((norm for name in _FINAL_NORMS if (norm := getattr(body, name, None)) is not None), None)


def behind_mlp(layer: torch.nn.Module) -> torch.nn.Module | None:
    """The norm between a layer's MLP and the residual stream, which OLMo 2 has; None elsewhere."""
    found: torch.nn.Module | None = getattr(layer, "post_feedforward_layernorm", None)
    return found


def _is_mlp_output(name: str, module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    inside = f".{name}".endswith((".mlp.down_proj", ".mlp.dense_4h_to_h"))
    return inside and weight is not None and weight.ndim == 2


UNKNOWN = "needs an architecture whose MLP neurons are known (OLMo, OLMo 2, Llama, Qwen, GPT-NeoX)"
