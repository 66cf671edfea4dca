"""Gradient ascent with a weight for each token, so that what is already forgotten is left alone."""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, parameter
from unlearn_core.methods.gradient import mean_nll
from unlearn_core.methods.losses import counter_entropy, satimp_loss, wga_loss
from unlearn_core.models.forward import token_nll


@dataclass(frozen=True)
class WGA(Method):
    info = Info(
        name="wga",
        title="Weighted gradient ascent",
        family="gradient",
        taxonomy="global weights",
        idea="Gradient ascent in which each token counts as much as it is still likely. Tokens already "
        "forgotten drop out, so the loss is bounded.",
        formula="-mean p^beta NLL(forget token), p without gradient, + retain_weight NLL(retain)",
        paper="Wang et al. 2025, arXiv 2502.19301",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Rare tokens get no push from the start.",
    )

    beta: float = parameter(1.0, "How fast a token's weight falls with its probability", 0.0, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        retain = mean_nll(batch.retain)
        return Losses(wga_loss(nll_N, self.beta) + self.retain_weight * retain, nll_N.mean(), retain)


@dataclass(frozen=True)
class SatImp(Method):
    info = Info(
        name="satimp",
        title="SatImp (saturation and importance)",
        family="gradient",
        taxonomy="global weights",
        idea="Weighted gradient ascent that counts a token most while it is likely but no longer certain. "
        "Both the forgotten and the stubborn get less of the push.",
        formula="-mean p^beta1 (1 - p)^beta2 NLL(forget token), p without gradient, "
        "+ retain_weight NLL(retain)",
        paper="Yang et al. 2025, arXiv 2505.11953",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Text known by heart has p near 1, where the weight is near 0: it starts slowly.",
    )

    beta1: float = parameter(1.0, "Exponent of p: what is forgotten saturates", 0.0, 100.0)
    beta2: float = parameter(0.1, "Exponent of 1 - p: what is certain counts less", 0.0, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        retain = mean_nll(batch.retain)
        push = satimp_loss(nll_N, self.beta1, self.beta2)
        return Losses(push + self.retain_weight * retain, nll_N.mean(), retain)


@dataclass(frozen=True)
class CEU(Method):
    info = Info(
        name="ceu",
        title="CE-U (cross-entropy unlearning)",
        family="gradient",
        taxonomy="global weights",
        idea="Trains the model towards its own prediction with the true token struck out. The push is full "
        "where a token is certain and fades as it becomes unlikely, the reverse of gradient ascent.",
        formula="mean CE(softmax(logits without the label), model) + retain_weight NLL(retain)",
        paper="Yang 2025, arXiv 2503.01224",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Ends on the model's second-best token, which may say as much. The paper has no retain "
        "term; here it can be switched off with retain_weight 0.",
    )

    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        push = counter_entropy(batch.forget.logits_NV, batch.forget.labels_N).mean()
        forget = mean_nll(batch.forget).detach()
        retain = mean_nll(batch.retain)
        return Losses(push + self.retain_weight * retain, forget, retain)
