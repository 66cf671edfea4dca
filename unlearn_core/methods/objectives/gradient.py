"""Gradient methods: ascend on the forget set, with or without something to hold the rest."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, parameter
from unlearn_core.methods.capabilities import UsesReference
from unlearn_core.models.inference.forward import AnswerPredictions, token_nll


def mean_nll(part: AnswerPredictions | None) -> torch.Tensor:
    """Token mean NLL (nats per token) of a part the method declared it needs."""
    assert part is not None
    return token_nll(part).mean()


@dataclass(frozen=True)
class WithRetainLoss(UsesReference, Method):
    """A push on the forget set beside a loss that holds the retain set, with a weight for each.

    As open-unlearning's `GradDiff` and what derives from it have it (gamma, alpha, retain_loss_type). The KL
    is from the original's predictions at answer positions, token mean.
    """

    forget_weight: float = parameter(1.0, "Weight of the forget loss (gamma)", 0.0, 100.0)
    retain_weight: float = parameter(1.0, "Weight of the retain loss (alpha)", 0.0, 100.0)
    retain_loss: str = parameter(
        "nll", "What holds the retain set: the text, or the original's predictions", choices=("nll", "kl")
    )

    @property
    def reference_parts(self) -> tuple[str, ...]:
        return ("retain",) if self.retain_loss == "kl" else ()

    def prepare(self, context: Context) -> None:
        if self.retain_loss == "kl":
            context.reference.keep("retain")

    def weighed(self, context: Context, batch: StepBatch, push: torch.Tensor, forget: torch.Tensor | None) -> Losses:
        """The losses of a step from its push on the forget set; `forget` is the loss of that set, for the curve."""
        retain = mean_nll(batch.retain)
        hold = retain
        if self.retain_loss == "kl":
            assert batch.retain is not None
            hold = context.reference.kl("retain", batch.retain).mean()
        return Losses(self.forget_weight * push + self.retain_weight * hold, forget, retain)


@dataclass(frozen=True)
class GradAscent(Method):
    info = Info(
        name="grad_ascent",
        title="Gradient ascent (GA)",
        family="gradient",
        taxonomy="global weights",
        idea="Raises the loss on the forget set by walking uphill. Nothing holds the rest in place.",
        formula="-NLL(forget), token mean",
        paper="Jang et al. 2023, Knowledge Unlearning, arXiv 2210.01504",
        cost=1.0,
        caution="Unbounded below: it forgets within a few steps and then ruins the model.",
    )

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = mean_nll(batch.forget)
        return Losses(-forget, forget)


@dataclass(frozen=True)
class GradDiff(WithRetainLoss):
    info = Info(
        name="grad_diff",
        title="Gradient difference (GradDiff)",
        family="gradient",
        taxonomy="global weights",
        idea="Gradient ascent on the forget set while training on the retain set in the same step. "
        "The two losses pull against each other.",
        formula="-forget_weight NLL(forget) + retain_weight NLL(retain), token means",
        paper="Liu et al. 2022, Continual Learning and Private Unlearning, arXiv 2203.12817",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Once the forget gradient outgrows the retain gradient it collapses as ascent does. Here, as for "
        "every method, AdamW has no weight decay; the authors' code mostly has 0.01.",
    )

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = mean_nll(batch.forget)
        return self.weighed(context, batch, -forget, forget)


@dataclass(frozen=True)
class KLMinimisation(Method):
    info = Info(
        name="kl",
        title="KL minimisation (KL)",
        family="gradient",
        taxonomy="global weights",
        idea="Gradient ascent on the forget set; on the retain set the model is held to its own earlier "
        "predictions instead of to the text.",
        formula="-NLL(forget) + retain_weight KL(original || current; retain), token means",
        paper="Maini et al. 2024, TOFU, arXiv 2401.06121",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="KL is 0 with gradient 0 at the start, so the first steps are pure ascent; it collapses. Both terms "
        "are over answer positions; some implementations take the KL over the prompt too.",
    )

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)
    retain_weight: float = parameter(1.0, "Weight of the KL on the retain set", 0.0, 100.0)

    def prepare(self, context: Context) -> None:
        context.reference.keep("retain")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        forget = mean_nll(batch.forget)
        retain = context.reference.kl("retain", batch.retain).mean()
        return Losses(self.retain_weight * retain - forget, forget, retain)
