"""Methods that steer hidden states of a layer instead of predictions.

Legend: N labelled positions, D hidden.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch

from unlearn_core.errors import InputError
from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, Traits, parameter
from unlearn_core.methods.capabilities import ReadsHiddenLayer, TrainsSubset
from unlearn_core.models.inference.forward import layer_of

_LAST_MAPS = (".down_proj.", ".dense_4h_to_h.", ".mlp.c_proj.", ".fc2.", ".mlp.fc_out.", ".w2.")


@dataclass(frozen=True)
class RMU(ReadsHiddenLayer, TrainsSubset, Method):
    info = Info(
        name="rmu",
        title="Representation misdirection (RMU)",
        family="representation",
        taxonomy="local weights",
        idea="Pushes the hidden states of forget answers at one layer towards a fixed random direction and "
        "holds those of the retain set where they were. Only the last map of three MLPs trains.",
        formula="mean (h(forget) - strength u)^2 + retain_weight mean (h(retain) - h_original(retain))^2, "
        "over answer positions and units; u random in [0, 1)^D, of length 1",
        paper="Li et al. 2024, WMDP, arXiv 2403.03218",
        cost=0.73,
        needs=frozenset({"forget", "retain"}),
        caution="Brittle to layer and strength, and easily relearned. The strength is in the units of a "
        "model's hidden states: the default suits the bundled one, and adaptive RMU finds it for any. Here "
        "the states before each answer token count, as a mean over tokens; the authors take every position of "
        "plain text.",
    )

    traits = Traits(forget_rises=False)

    learning_rate: float = parameter(2e-2, "Peak learning rate of AdamW", 0.0, 1.0)
    depth: float = parameter(0.75, "Where the layer lies, as a share of the depth", 0.01, 1.0)
    modules: str = parameter("", "Layers that train, as a regular expression over names; empty: three below the layer")
    weights: str = parameter("", "Parameters that train in them, the same way; empty: the last map of the MLP")
    strength: float = parameter(150.0, "Length of the vector that hidden states are pushed to", 0.0, 1e5)
    retain_weight: float = parameter(10.0, "Weight of the retain term", 0.0, 1e5)

    def hidden_layer(self, num_layers: int) -> int:
        return max(1, round(self.depth * num_layers)) - 1

    def trains(self, name: str, num_layers: int) -> bool:
        layer, top = layer_of(name), self.hidden_layer(num_layers)
        if self.modules:
            inside = re.search(self.modules, name) is not None
        else:
            inside = layer is not None and top - 2 <= layer <= top
        if self.weights:
            return inside and re.search(self.weights, name) is not None
        return inside and any(part in f"{name}." for part in _LAST_MAPS)

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("modules", "weights"):
            try:
                re.compile(getattr(self, field))
            except re.error as error:
                mend = r"Use one like layers\.(5|6|7)\. or leave it empty."
                raise InputError(field, getattr(self, field), f"is not a regular expression ({error})", mend) from None

    def prepare(self, context: Context) -> None:
        context.reference.keep("retain")
        width = context.model.config.get_text_config().hidden_size
        u_D = torch.rand(width, generator=torch.Generator().manual_seed(context.seed))
        context.state["target_D"] = (u_D / u_D.norm()).to(context.model.device) * self.strength

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        forget = (batch.forget.hidden_ND.float() - context.state["target_D"]).square().mean()
        original_ND = context.reference.hidden("retain", batch.retain).float()
        retain = (batch.retain.hidden_ND.float() - original_ND).square().mean()
        return Losses(forget + self.retain_weight * retain, forget, retain)


@dataclass(frozen=True)
class AdaptiveRMU(RMU):
    info = Info(
        name="adaptive_rmu",
        title="Adaptive RMU",
        family="representation",
        taxonomy="local weights",
        idea="RMU whose target is as long as the model's own hidden states, times a factor. The strength "
        "then carries over between layers and models.",
        formula="as RMU, strength = factor * mean |h(forget)| of the first step",
        paper="Huu-Tien et al. 2024, arXiv 2408.06223; for SemEval as by Mr. Snuffleupagus 2025",
        cost=0.73,
        needs=frozenset({"forget", "retain"}),
        caution="Easily relearned, as RMU is.",
    )

    factor: float = parameter(5.0, "Length of the target, in lengths of the hidden states", 0.0, 1000.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        if "scaled" not in context.state:
            length = batch.forget.hidden_ND.detach().float().norm(dim=-1).mean()
            target_D = context.state["target_D"]
            context.state["target_D"] = target_D / target_D.norm().clamp(min=1e-9) * self.factor * length
            context.state["scaled"] = True
        return super().losses(context, batch)
