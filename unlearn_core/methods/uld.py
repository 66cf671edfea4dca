"""ULD: a small assistant learns what is to be forgotten, and its logits are subtracted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from unlearn_core.methods.aside import Aside, Rows
from unlearn_core.methods.base import Context, Info, Losses, Mix, Unit, parameter
from unlearn_core.methods.gradient import mean_nll
from unlearn_core.models.assistant import Assistant
from unlearn_core.models.forward import num_layers
from unlearn_core.models.wrapper import Wrapper

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact


@dataclass(frozen=True)
class ULD(Aside):
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
        "Every answer costs the assistant's pass too. Trained without the authors' paraphrases; on the "
        "bundled world it hides most forgotten answers and one retained in six.",
    )

    forget_rises: ClassVar[bool] = False
    learning_rate: float = parameter(5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    depth: float = parameter(0.5, "Share of the layers that the assistant has", 0.01, 1.0)
    rank: int = parameter(16, "Rank of the assistant's adapter", 1, 1024)
    flatness: float = parameter(5.0, "Weight of being undecided on the retain set", 0.0, 1000.0)
    weight: float = parameter(1.2, "How much of the assistant is subtracted", 0.0, 100.0)
    head: float = parameter(1e-2, "Share of the best token's probability that makes one plausible", 1e-9, 1.0)

    def mix(self) -> Mix:
        return Mix(self.batch_size, self.batch_size, retain_documents=True)

    def prepare(self, context: Context) -> None:
        layers = max(1, round(self.depth * num_layers(context.model)))
        settings = (layers, self.rank, self.weight, self.head, context.seed)
        front = Assistant(context.model, *settings)
        front.attach(context.model, 0.0)
        context.closing.callback(front.detach, context.model)
        context.state["front"] = front

    def units(self, context: Context) -> Iterator[Unit]:
        front: Assistant = context.state["front"]
        own = [p for name, p in front.model.named_parameters() if "lora_" in name]

        def losses(rows: Rows) -> Losses:
            forget = mean_nll(context.passes.predictions(rows["forget"], front.model))
            flat = uniform_loss(context.passes.predictions(rows["retain"], front.model).logits_NV)
            return Losses(forget + self.flatness * flat, forget, flat)

        for unit in self.fit(context, own, losses, context.num_steps):
            front.strength = 1.0
            yield unit

    def finalise(self, context: Context) -> Artifact:
        return Wrapper(context.model, context.state["front"])


def uniform_loss(logits_NV: torch.Tensor) -> torch.Tensor:
    """KL(uniform || p), token mean, in nats: 0 exactly where all tokens are equally likely."""
    return -logits_NV.float().log_softmax(-1).mean() - math.log(logits_NV.shape[-1])
