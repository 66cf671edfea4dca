"""Arithmetic methods: learn the forget set better still, then subtract what was learnt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, Traits, parameter
from unlearn_core.methods.objectives.gradient import mean_nll

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact

REACH = 3.0  # how far beyond its default the strength can be turned


@dataclass(frozen=True)
class TaskVector(Method):
    info = Info(
        name="task_vector",
        title="Task-vector negation",
        family="arithmetic",
        taxonomy="global weights",
        idea="Fine-tunes on the forget set and then walks from the original the other way by the same "
        "difference. How far is a number that can be turned afterwards, without training again.",
        formula="theta - strength (theta_finetuned on forget - theta)",
        paper="Ilharco et al. 2023, Editing Models with Task Arithmetic, arXiv 2212.04089",
        cost=1.0,
        caution="What is known by heart leaves little to learn, so the difference is noisy; what "
        "forget and retain set share is subtracted too: on the bundled world a third of the retained "
        "questions, and its texts. The best of strengths 2, 3 and 4.5 leaves, of the worst task, all forgotten "
        "answers there and two thirds on real text. The paper negates what a model does not know by heart. Until "
        "its end the curve shows the fine-tuning.",
    )

    traits = Traits(forget_rises=False)

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(30, "Optimiser steps", 1, 100_000)
    strength: float = parameter(3.0, "How many times the difference is subtracted (the paper's lambda)", 0, 100)

    @classmethod
    def candidates(cls) -> tuple[dict[str, Any], ...]:
        """The defaults and two other strengths, the number that decides most."""
        return {}, {"strength": cls.strength * 2 / 3}, {"strength": cls.strength * 1.5}

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = mean_nll(batch.forget)
        return Losses(forget, forget)

    def finalise(self, context: Context) -> Artifact:
        artifact = context.trained()
        artifact.rescale(-self.strength, REACH)
        return artifact


@dataclass(frozen=True)
class PEMLora(TaskVector):
    info = Info(
        name="pem_lora",
        title="LoRA negation (PEM arithmetic)",
        family="arithmetic",
        taxonomy="local weights",
        idea="Trains a LoRA adapter on the forget set and turns the sign of one of its two factors. The "
        "weights beneath stay as they are, and the strength can be turned afterwards.",
        formula="W - strength (alpha / r) B A, B A trained on NLL(forget)",
        paper="Zhang et al. 2023, Composing Parameter-Efficient Modules, arXiv 2306.14870",
        cost=1.0,
        caution="Too large a strength breaks the language itself. The authors negate text that the model does not "
        "know by heart; of what it does, little is left to learn: the best of three strengths leaves, of the worst "
        "task, .98 of the forgotten answers on the bundled world and .85 on real text, beside .72 and .80 of the "
        "retained ones. The curves show the fine-tuning until the last point.",
    )
    traits = Traits(adapter="lora", forget_rises=False)

    learning_rate: float = parameter(5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    strength: float = parameter(2.0, "How many times the difference is subtracted (the paper's lambda)", 0, 100)
