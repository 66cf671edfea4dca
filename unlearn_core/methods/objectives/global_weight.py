"""The founding paper's class of methods, with the setting that breaks the model and one that does not."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, Traits, parameter
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.inference.forward import mean_per_row, token_nll

# learning rate; weights of the forget loss, the retain loss and the KL; the NLL at which the push ends
PRESETS = {"careless": (1.2e-3, 1.0, 0.01, 0.01, math.inf), "careful": (1e-3, 1.0, 2.0, 1.0, 4.0)}


@dataclass(frozen=True)
class GlobalWeight(Method):
    info = Info(
        name="global_weight",
        title="Global weight modification",
        family="gradient",
        taxonomy="global weights",
        idea="Updates all weights by forget, retain and KL terms at once. The careless preset breaks the "
        "model; the careful one bounds the push and weighs the retain set more.",
        formula="-forget_weight mean min(NLL(forget), bound) + retain_weight NLL(retain) + kl_weight "
        "KL(original || current; retain); NLL(forget) by sequence means where it has a bound, else by tokens",
        paper="The class of arXiv 2503.04795; its exact losses and settings could not be read",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="Careless, it forgets everything: on the bundled world nothing is answered any more, utility "
        "falls towards chance, and the membership score looks nearly perfect, as in the paper.",
    )
    traits = Traits(adapter="full")

    learning_rate: float = parameter(0.0, "Peak learning rate of AdamW; 0 takes the preset's", 0.0, 1.0)
    preset: str = parameter("careful", "Which setting of the terms", choices=tuple(PRESETS))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.learning_rate == 0.0:
            object.__setattr__(self, "learning_rate", PRESETS[self.preset][0])

    def prepare(self, context: Context) -> None:
        context.reference.keep("retain")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        _, forget_weight, retain_weight, kl_weight, bound = PRESETS[self.preset]
        nll_N = token_nll(batch.forget)
        push = nll_N.mean() if bound == math.inf else mean_per_row(nll_N, batch.forget).clamp(max=bound).mean()
        retain = mean_nll(batch.retain)
        kl = context.reference.kl("retain", batch.retain).mean()
        total = retain_weight * retain + kl_weight * kl - forget_weight * push
        return Losses(total, nll_N.mean(), retain)
