"""ULD: a small assistant learns what is to be forgotten, and its logits are subtracted."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.methods.base import BatchComposition, Context, EditedUnit, Info, Losses, Traits, parameter
from unlearn_core.methods.inference_time.auxiliary_training import AuxiliaryTraining, Rows
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.inference.forward import num_layers, unwrap
from unlearn_core.models.wrappers.assistant import Assistant, fewest_layers
from unlearn_core.models.wrappers.wrapper_artifact import Wrapper

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.models.artifacts import Artifact


@dataclass(frozen=True)
class ULD(AuxiliaryTraining):
    info = Info(
        name="uld",
        title="Logit difference with an assistant (ULD)",
        family="inference time",
        taxonomy="input/output",
        idea="Trains a small assistant, the model's first layers with an adapter, to know the forget set and "
        "to be undecided on the rest. What it says is subtracted from what the model says.",
        formula="z_model - weight z_assistant on plausible tokens; the assistant minimises NLL(forget) + "
        "flatness KL(uniform || assistant; retain)",
        paper="Ji et al. 2024, Reversing the Forget-Retain Objectives, arXiv 2406.08607",
        cost=0.83,
        needs=frozenset({"forget", "retain"}),
        caution="It hides and does not forget: the weights are unchanged, and whoever has them has it all. "
        "Every answer costs the assistant's pass too. The authors subtract raw logits; here they are "
        "centred. Trained without the authors' paraphrases; on the "
        "bundled world seven of ten forgotten answers are hidden, and one in four of others' facts with them.",
    )

    traits = Traits(adapter="none", forget_rises=False)

    learning_rate: float = parameter(5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    depth: float = parameter(0.5, "Share of the layers that the assistant has", 0.01, 1.0)
    rank: int = parameter(16, "Rank of the assistant's adapter", 1, 1024)
    flatness: float = parameter(5.0, "Weight of being undecided on the retain set", 0.0, 1000.0)
    weight: float = parameter(1.2, "How much of the assistant is subtracted", 0.0, 100.0)
    head: float = parameter(
        1e-2,
        "Share of the best token's probability, and of the vocabulary, from which plausible",
        1e-9,
        1.0,
    )

    def supports(self, model: PreTrainedModel) -> str | None:
        keeps = "past_key_values" in inspect.signature(unwrap(model).forward).parameters
        return None if keeps else "needs a cache of keys and values, and this model keeps another kind"

    def mix(self) -> BatchComposition:
        return BatchComposition(self.batch_size, self.batch_size, retain_documents=True)

    def prepare(self, context: Context) -> None:
        layers = max(fewest_layers(context.model), round(self.depth * num_layers(context.model)))
        settings = (layers, self.rank, self.weight, self.head, context.seed)
        front = Assistant(context.model, *settings)
        front.attach(context.model, 0.0)
        context.closing.callback(front.detach, context.model)
        context.state["front"] = front

    def units(self, context: Context) -> Iterator[EditedUnit]:
        front: Assistant = context.state["front"]

        def losses(rows: Rows) -> Losses:
            forget = mean_nll(context.current.predictions(rows["forget"], front.model))
            flat = uniform_loss(context.current.predictions(rows["retain"], front.model).logits_NV)
            return Losses(forget + self.flatness * flat, forget, flat)

        for unit in self.fit(context, list(front.factors.values()), losses, context.num_steps):
            front.strength = 1.0
            yield unit

    def finalise(self, context: Context) -> Artifact:
        return Wrapper(context.model, context.state["front"])


def uniform_loss(logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(uniform || p), token mean, in nats: 0 exactly where all tokens are equally likely."""
    return -logits_NV.float().log_softmax(-1).mean() - math.log(logits_NV.shape[-1])
