"""Methods that balance the pull of the two sets by rule: by dual variable, or by equal length of gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unlearn_core.methods.base import Context, Info, Losses, Method, StepBatch, parameter
from unlearn_core.methods.capabilities import CombinesGradients, ScalesLearningRate, SeesGradients
from unlearn_core.methods.losses import flatness_loss
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.inference.forward import token_nll


@dataclass(frozen=True)
class PDU(Method):
    info = Info(
        name="pdu",
        title="Primal-dual unlearning (PDU)",
        family="gradient",
        taxonomy="global weights",
        idea="Flattens the predictions on the forget set under the constraint that the retain loss stays "
        "below a bound. The constraint's price rises while it is broken and falls while it is met.",
        formula="forget_weight mean (max logit - mean logit)^2 + price (NLL(retain) - bound); "
        "price <- max(0, price + rate (NLL(retain) - bound)) after each step",
        paper="Entesari et al. 2025, arXiv 2506.05314",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="Ends in flat predictions, which membership inference sees.",
    )

    forget_weight: float = parameter(0.05, "Weight of the flatness loss", 0.0, 1000.0)
    price: float = parameter(10.0, "Price of a nat of retain loss at the start", 0.0, 1e4)
    rate: float = parameter(5.0, "Rise of the price per step and nat above the bound", 0.0, 1e4)
    bound: float = parameter(0.1, "Retain loss that is allowed, nats per token", 0.0, 20.0)
    fixed: float = parameter(0.2, "Share of the steps during which the price stays", 0.0, 1.0)

    def prepare(self, context: Context) -> None:
        context.state["price"] = self.price

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        retain = mean_nll(batch.retain)
        forget = mean_nll(batch.forget).detach()
        push = flatness_loss(batch.forget.logits_NV)
        price = context.state["price"]
        return Losses(self.forget_weight * push + price * (retain - self.bound), forget, retain)

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        if step >= self.fixed * context.num_steps:
            assert losses.retain is not None
            above = float(losses.retain.detach()) - self.bound
            context.state["price"] = max(0.0, context.state["price"] + self.rate * above)


@dataclass(frozen=True)
class NGDiff(CombinesGradients, SeesGradients, ScalesLearningRate, Method):
    info = Info(
        name="ngdiff",
        title="Normalised gradient difference (NGDiff)",
        family="gradient",
        taxonomy="global weights",
        idea="Scales the gradients of both sets to the same length before it takes their difference. No "
        "step then raises the retain loss or lowers the forget loss, to first order; the learning rate is "
        "fitted to the retain loss as training goes.",
        formula="g = g(retain) / |g(retain)| - g(forget) / |g(forget)|; every `interval` steps the rate is "
        "multiplied by a in [1/2, 2], the least of the parabola through NLL(retain) before the step (a = 0), "
        "after it (1) and as far the other way (-1)",
        paper="Bu et al. 2024, arXiv 2410.22086; the rate (GeN) Bu and Xu 2024, arXiv 2407.02772",
        cost=2.07,
        needs=frozenset({"forget", "retain"}),
        caution="The push never fades: stop in time. The fitted rate multiplies the usual schedule, so that "
        "a run ends at rest. Where the retain set is known by heart too, the rate grows slowly: on the bundled world "
        "it is 16 times the first after 60 steps, and all forgotten answers of the worst task are still told. Five "
        "times the rate leaves .48 of them and .44 of the retained ones of the worst task (seed 5).",
    )
    learning_rate: float = parameter(1e-4, "Peak learning rate of AdamW", 0.0, 1.0)
    interval: int = parameter(10, "Steps between two fits of the learning rate; 0 for none", 0, 100_000)

    def prepare(self, context: Context) -> None:
        context.state["factor"] = 1.0

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget, retain = mean_nll(batch.forget), mean_nll(batch.retain)
        return Losses(retain - forget, forget, retain)

    def combine(self, forget: list[torch.Tensor], retain: list[torch.Tensor]) -> list[torch.Tensor]:
        up, down = (torch.nn.utils.get_total_norm(part).clamp(min=1e-12) for part in (forget, retain))
        return [r / down - f / up for f, r in zip(forget, retain, strict=True)]

    def rate_factor(self, context: Context) -> float:
        return float(context.state["factor"])

    def after_backward(self, context: Context) -> None:
        """Before a step whose rate will be fitted, keep the weights it starts from."""
        if self.interval and (context.step + 1) % self.interval == 0:
            context.state["before"] = [p.detach().clone() for p in context.parameters.values()]

    @torch.no_grad()
    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        """Look at the retain loss as far behind the step as it went ahead; the weights stay as they are."""
        before = context.state.pop("before", None)
        if before is None:
            return
        assert losses.retain is not None
        after = [p.detach().clone() for p in context.parameters.values()]
        ahead = retain_loss(context)
        for p, old in zip(context.parameters.values(), before, strict=True):
            p.copy_(2 * old - p)
        behind = retain_loss(context)
        for p, new in zip(context.parameters.values(), after, strict=True):
            p.copy_(new)
        context.state["factor"] *= best_length(behind, float(losses.retain), ahead)


def retain_loss(context: Context) -> float:
    """Token mean NLL of this step's retain sequences under the model as it is."""
    nll_N = torch.cat([token_nll(part) for part in context.current.answers(context.rows["retain"])])
    return float(nll_N.mean())


def best_length(behind: float, here: float, ahead: float) -> float:
    """Where the parabola through losses at -1, 0 and 1 is least, within [1/2, 2]; 1 where it has no such
    place ahead (Bu and Xu 2024, arXiv 2407.02772)."""
    slope, curvature = (behind - ahead) / 2, behind + ahead - 2 * here
    if not (slope > 0 and curvature > 0):
        return 1.0
    return min(2.0, max(0.5, slope / curvature))
