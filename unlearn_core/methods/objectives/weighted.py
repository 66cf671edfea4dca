"""Gradient ascent with a weight for each token, so that what is already forgotten is left alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn_core.methods.base import Context, Info, Losses, RowPart, StepBatch, parameter
from unlearn_core.methods.losses import counter_entropy, satimp_loss, weighted_ascent, wga_loss
from unlearn_core.methods.objectives.gradient import WithRetainLoss, mean_nll
from unlearn_core.models.inference.forward import token_nll


@dataclass(frozen=True)
class WGA(WithRetainLoss):
    info = Info(
        name="wga",
        title="Weighted gradient ascent (WGA)",
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

    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    beta: float = parameter(1.0, "How fast a token's weight falls with its probability", 0.0, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        return self.weighed(context, batch, wga_loss(nll_N, self.beta), nll_N.mean())


@dataclass(frozen=True)
class SatImp(WithRetainLoss):
    info = Info(
        name="satimp",
        title="SatImp (saturation and importance)",
        family="gradient",
        taxonomy="global weights",
        idea="Weighted gradient ascent that counts a token most while it is likely but no longer certain. "
        "Both the forgotten and the stubborn get less of the push.",
        formula="-mean p^beta1 (1 - p)^beta2 NLL(forget token), p without gradient, + retain_weight NLL(retain)",
        paper="Yang et al. 2025, arXiv 2505.11953",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Text known by heart has p near 1, where the weight is near 0: it starts slowly.",
    )

    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    beta1: float = parameter(1.0, "Exponent of p: what is forgotten saturates", 0.0, 100.0)
    beta2: float = parameter(0.1, "Exponent of 1 - p: what is certain counts less", 0.0, 100.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        return self.weighed(context, batch, satimp_loss(nll_N, self.beta1, self.beta2), nll_N.mean())


@dataclass(frozen=True)
class CEU(WithRetainLoss):
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
        caution="Ends on the model's second-best token, which may say as much; on the first answer token that "
        "is often another way to begin the same answer. The paper has no retain term; "
        "here it can be switched off with retain_weight 0.",
    )

    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        push = counter_entropy(batch.forget.logits_NV, batch.forget.labels_N).mean()
        return self.weighed(context, batch, push, mean_nll(batch.forget).detach())


@dataclass(frozen=True)
class FPGA(WithRetainLoss):
    info = Info(
        name="fpga",
        title="Token-weighted ascent (after FPGA)",
        family="gradient",
        taxonomy="global weights",
        idea="Gradient ascent on the tokens that belong to the forget set and not on those the retain "
        "answers share with it. The weight rule is Lethe's own.",
        formula="-sum w NLL(forget token) / sum w + retain_weight NLL(retain); w = share of a token's uses "
        "that fall into the forget answers, each set counted in proportion",
        paper="After Feng et al. 2024, Fine-grained Pluggable Gradient Ascent, EMNLP 2024 main 566",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="The paper's weight rule could not be read; this one is ours. Unbounded below.",
    )

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)
    retain_weight: float = parameter(2.0, "Weight of the retain loss", 0.0, 100.0)

    def prepare(self, context: Context) -> None:
        super().prepare(context)
        size = context.model.config.get_text_config().vocab_size
        weight_V = sensitivity(context.parts["forget"], context.parts["retain"], size)
        context.state["weight_V"] = weight_V.to(context.model.device)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        nll_N = token_nll(batch.forget)
        push = weighted_ascent(nll_N, context.state["weight_V"][batch.forget.labels_N])
        return self.weighed(context, batch, push, nll_N.mean())


def sensitivity(forget: RowPart, retain: RowPart, vocabulary: int) -> torch.Tensor:
    """For each token (V,) f / (f + r), its frequencies in forget and retain answers; 0 if unused."""
    frequency = []
    for part in (forget, retain):
        answered = [token for row in part.rows for token in row.ids[row.num_prompt :]]
        counts_V = torch.bincount(torch.tensor(answered, dtype=torch.long), minlength=vocabulary).float()
        frequency.append(counts_V / counts_V.sum().clamp(min=1))
    forget_V, retain_V = frequency
    return forget_V / (forget_V + retain_V).clamp(min=1e-12)
