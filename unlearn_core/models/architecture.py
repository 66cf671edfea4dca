"""Where the parts of a decoder are, by attribute: OLMo, OLMo 2, Llama and Qwen name them alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unlearn_core.models.forward import unwrap

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_FINAL_NORMS = ("norm", "final_layer_norm", "ln_f", "final_layernorm")


def decoder_layers(model: PreTrainedModel) -> list[Any]:
    """The decoder layers, first to last; empty for an architecture not known here."""
    inner: Any = unwrap(model)
    body = getattr(inner, inner.base_model_prefix, None)
    return list(getattr(body, "layers", None) or ())


def mlp_outputs(model: PreTrainedModel) -> dict[str, Any]:
    """By parameter name, the matrix of each layer whose inputs are the MLP's neurons (down projection).

    Column j of the matrix is what neuron j writes, its value vector. Empty where layers have none.
    """
    found = [(name, module) for name, module in unwrap(model).named_modules() if _is_mlp_output(name)]
    return {f"{name}.weight": module for name, module in found} if decoder_layers(model) else {}


def final_norm(model: PreTrainedModel) -> torch.nn.Module | None:
    """The norm before the output head; None where there is none by a known name."""
    inner: Any = unwrap(model)
    body = getattr(inner, inner.base_model_prefix, inner)
    return next((norm for name in _FINAL_NORMS if (norm := getattr(body, name, None)) is not None), None)


def behind_mlp(layer: Any) -> torch.nn.Module | None:
    """The norm between a layer's MLP and the residual stream, which OLMo 2 has; None elsewhere."""
    found: torch.nn.Module | None = getattr(layer, "post_feedforward_layernorm", None)
    return found


def _is_mlp_output(name: str) -> bool:
    return name.endswith((".mlp.down_proj", ".mlp.dense_4h_to_h"))


UNKNOWN = "needs an architecture whose MLP neurons are known (OLMo, OLMo 2, Llama, Qwen, GPT-NeoX)"
