"""IA3 negation: learn the forget set in a few scaling vectors, then scale the other way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.utils.hooks import RemovableHandle

from unlearn_core.methods.base import Context, EditedUnit, Info, Losses, Traits, parameter
from unlearn_core.methods.inference_time.auxiliary_training import AuxiliaryTraining, Rows
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.methods.weights.arithmetic import REACH
from unlearn_core.models.artifacts import DenseDelta

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.models.artifacts import Artifact

_OUTPUTS, _INPUTS = (".k_proj", ".v_proj"), (".down_proj",)


@dataclass(frozen=True)
class PEMIA3(AuxiliaryTraining):
    info = Info(
        name="pem_ia3",
        title="IA3 negation (PEM arithmetic)",
        family="arithmetic",
        taxonomy="local weights",
        idea="Trains one factor for each key, value and MLP neuron on the forget set, then mirrors the "
        "factors at 1. What was amplified to learn it is damped by as much.",
        formula="l' = 1 - strength (l - 1), l trained on NLL(forget); 2 - l at strength 1",
        paper="Zhang et al. 2023, Composing Parameter-Efficient Modules, arXiv 2306.14870",
        cost=0.67,
        caution="Coarse: a factor scales its neuron for every text. The best of three rates leaves, of the worst "
        "task, .98 of the forgotten answers on the bundled world and all on real text, beside .74 and .89 of the "
        "retained ones. The authors mirror at .7, toxic text that the model does not know by heart. The curves show "
        "the fine-tuning until the last point. The factors are multiplied into the weights, so nothing is added to "
        "the model.",
    )

    traits = Traits(adapter="none", forget_rises=False)

    learning_rate: float = parameter(2e-2, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(30, "Optimiser steps", 1, 100_000)
    strength: float = parameter(4.0, "How far beyond 1 the factors are mirrored (the paper's lambda)", 0, 100)

    def supports(self, model: PreTrainedModel) -> str | None:
        if _scaled(model):
            return None
        return "needs separate key, value and down projections (OLMo, OLMo 2, Llama, Qwen)"

    def prepare(self, context: Context) -> None:
        """Put a factor of 1 on each key, value and MLP neuron; the output is the same bit for bit."""
        factors: dict[str, torch.nn.Parameter] = {}
        for name, layer in _scaled(context.model).items():
            inside = name.endswith(_INPUTS)
            ones = layer.weight.new_ones(layer.weight.shape[1 if inside else 0])
            factors[name] = torch.nn.Parameter(ones)
            context.closing.callback(_hook(layer, factors[name], inside).remove)
        context.state["factors"] = factors

    def units(self, context: Context) -> Iterator[EditedUnit]:
        def losses(rows: Rows) -> Losses:
            forget = mean_nll(context.current.predictions(rows["forget"]))
            return Losses(forget, forget)

        yield from self.fit(context, list(context.state["factors"].values()), losses, context.num_steps)

    @torch.no_grad()
    def finalise(self, context: Context) -> Artifact:
        old = {}
        layers = _scaled(context.model)
        for name, factor in context.state["factors"].items():
            weight, bias = layers[name].weight, layers[name].bias
            old[f"{name}.weight"] = weight.detach().clone()
            weight.mul_(factor if name.endswith(_INPUTS) else factor[:, None])
            if bias is not None and not name.endswith(_INPUTS):
                old[f"{name}.bias"] = bias.detach().clone()
                bias.mul_(factor)
        artifact = DenseDelta(context.model, old)
        artifact.rescale(-self.strength, REACH)
        return artifact


def _scaled(model: PreTrainedModel) -> dict[str, torch.nn.Linear]:
    """The linear layers that IA3 scales, by name: keys and values at their outputs, MLPs at their neurons."""
    return {
        name: module
        for name, module in model.named_modules()
        if name.endswith(_OUTPUTS + _INPUTS) and isinstance(module, torch.nn.Linear)
    }


def _hook(layer: torch.nn.Module, factor: torch.nn.Parameter, inside: bool) -> RemovableHandle:
    if inside:
        return layer.register_forward_pre_hook(lambda module, args: (args[0] * factor, *args[1:]))
    return layer.register_forward_hook(lambda module, args, output: output * factor)
