"""Preference methods: the forget answer is the dispreferred one, and pushing it away saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from unlearn_core.methods.base import Context, Info, Losses, StepBatch, parameter
from unlearn_core.methods.losses import dpo_loss, npo_loss, simnpo_loss
from unlearn_core.methods.objectives.gradient import WithRetainLoss
from unlearn_core.models.inference.forward import AnswerPredictions, mean_per_row, sum_per_row, token_nll


@dataclass(frozen=True)
class NPO(WithRetainLoss):
    info = Info(
        name="npo",
        title="Negative preference optimisation (NPO)",
        family="preference",
        taxonomy="global weights",
        idea="Treats each forget answer as the worse of two, measured against the original model. The push "
        "fades as an answer becomes unlikely, so it collapses far more slowly than ascent.",
        formula="-(2/beta) mean log sigmoid(beta (NLL(forget) - NLL_original(forget))) "
        "+ retain_weight NLL(retain); sequence sums in the first term",
        paper="Zhang et al. 2024, arXiv 2404.05868",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="At the start it is gradient ascent; longer answers get a larger push.",
    )

    beta: float = parameter(0.5, "How soon the push fades; towards 0 it is gradient ascent", 1e-4, 100.0)
    retain_weight: float = parameter(5.0, "Weight of the retain loss", 0.0, 100.0)

    def prepare(self, context: Context) -> None:
        super().prepare(context)
        context.reference.nll("forget")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        reference_B = context.reference.nll("forget")[batch.forget.index_B]
        push = npo_loss(sum_per_row(nll_N, batch.forget), reference_B, self.beta)
        return self.weighed(context, batch, push, nll_N.mean())


@dataclass(frozen=True)
class SimNPO(WithRetainLoss):
    info = Info(
        name="simnpo",
        title="SimNPO",
        family="preference",
        taxonomy="global weights",
        idea="NPO without a reference model: the push depends on how likely an answer is per token. Short "
        "and long answers are treated alike.",
        formula="-(2/beta) mean log sigmoid(beta (NLL(forget) - margin)) + retain_weight NLL(retain); "
        "sequence means in the first term",
        paper="Fan et al. 2024, arXiv 2410.07163",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Without the retain term utility is lost.",
    )

    beta: float = parameter(2.5, "How soon the push fades", 1e-4, 100.0)
    margin: float = parameter(0.0, "Reward margin, nats per token", 0.0, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        push = simnpo_loss(mean_per_row(nll_N, batch.forget), self.beta, self.margin)
        return self.weighed(context, batch, push, nll_N.mean())


@dataclass(frozen=True)
class PrefersOther(WithRetainLoss):
    """Preference for another answer over the true one, both measured against the original model."""

    other: ClassVar[Literal["refusals", "alternatives"]]  # the part that has it, row for row

    beta: float = parameter(0.5, "How soon the push fades", 1e-4, 100.0)

    def prepare(self, context: Context) -> None:
        super().prepare(context)
        context.reference.nll("forget")
        context.reference.nll(self.other)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        other: AnswerPredictions = getattr(batch, self.other)
        nll_N = token_nll(batch.forget)
        wanted_B = context.reference.nll(self.other)[other.index_B] - sum_per_row(token_nll(other), other)
        unwanted_B = context.reference.nll("forget")[batch.forget.index_B] - sum_per_row(nll_N, batch.forget)
        return self.weighed(context, batch, dpo_loss(wanted_B, unwanted_B, self.beta), nll_N.mean())
