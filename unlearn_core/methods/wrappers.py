"""Ways to train that any gradient method can take: a mask on the weights, an attack on hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch

from unlearn_core.methods.base import Attack, Context, Info, Losses, Method, Mix, StepBatch, parameter
from unlearn_core.methods.gradient import GradDiff
from unlearn_core.methods.preference import NPO, SimNPO
from unlearn_core.methods.weighted import WGA

BASES: dict[str, type[Method]] = {"grad_diff": GradDiff, "npo": NPO, "simnpo": SimNPO, "wga": WGA}


@dataclass(frozen=True)
class Masked(Method):
    info = Info(
        name="wagle",
        title="Weight attribution mask (WAGLE)",
        family="editing",
        taxonomy="local weights",
        idea="Scores every weight by how much forgetting it would serve and lets only the best share of them "
        "train. Any gradient method can be trained under the mask.",
        formula="score = |(w - g(retain) / curvature) g(forget)|; gradients outside the top share are 0",
        paper="Jia et al. 2024, arXiv 2410.17509",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="At the authors' curvature of 1e-6 the score is |g(retain) g(forget)|: it prefers weights "
        "that matter to both sets.",
    )
    adapter: ClassVar[str | None] = "full"  # LoRA's factors start with no forget gradient to attribute

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    base: str = parameter("simnpo", "The method trained under the mask", choices=tuple(BASES))
    share: float = parameter(0.8, "Share of the weights that train", 0.001, 1.0)
    curvature: float = parameter(1e-6, "Assumed curvature of the retain loss", 1e-12, 1e6)

    @cached_property
    def inner(self) -> Method:
        """The method whose losses are minimised, on this one's schedule."""
        shared = (self.learning_rate, self.steps, self.batch_size, self.max_gradient_norm, self.warmup)
        return BASES[self.base](*shared)

    def mix(self) -> Mix:
        return self.inner.mix()

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        return self.inner.losses(context, batch)

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        self.inner.after_step(context, step, losses)

    def prepare(self, context: Context) -> None:
        """Score the weights by one pass over each set, and remember which are left out."""
        self.inner.prepare(context)
        forget = context.passes.gradient(context.parts["forget"].rows)
        retain = context.passes.gradient(context.parts["retain"].rows)
        scores = {
            name: attribution(p.detach(), forget[name], retain[name], self.curvature)
            for name, p in context.parameters.items()
        }
        context.state["mask"] = top_share(scores, self.share)

    def after_backward(self, context: Context) -> None:
        for name, weight in context.parameters.items():
            if weight.grad is not None:
                weight.grad *= context.state["mask"][name]


def attribution(
    weight: torch.Tensor, forget: torch.Tensor, retain: torch.Tensor, curvature: float
) -> torch.Tensor:
    """|(w - g_R / curvature) g_F|, entry by entry (Jia et al. 2024)."""
    return ((weight - retain / curvature) * forget).abs()


def top_share(scores: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """True at the `share` of all entries with the highest scores, to one entry; ties by order."""
    flat = torch.cat([score.flatten() for score in scores.values()])
    mask = torch.zeros_like(flat, dtype=torch.bool)
    mask[flat.topk(max(1, round(share * flat.numel()))).indices] = True
    parts = mask.split([score.numel() for score in scores.values()])
    return {name: part.view_as(scores[name]) for name, part in zip(scores, parts, strict=True)}


@dataclass(frozen=True)
class Adversarial(Method):
    """Put before a method (`class AdvNPO(Adversarial, NPO)`): it then trains under a latent attack."""

    depth: float = parameter(0.25, "Where the attack enters, as a share of the depth", 0.0, 0.99)
    radius: float = parameter(0.3, "Largest norm of a sequence's shift; 0 for no attack", 0.0, 1e4)
    rounds: int = parameter(6, "Steps of the attack", 1, 100)

    def attack(self, num_layers: int) -> Attack | None:
        layer = min(num_layers - 1, int(self.depth * num_layers))
        return Attack(layer, self.radius, self.rounds) if self.radius else None


@dataclass(frozen=True)
class AdvGA(Adversarial, GradDiff):
    info = Info(
        name="adv_ga",
        title="Adversarial gradient ascent (AdvGA)",
        family="representation",
        taxonomy="global weights",
        idea="Gradient difference on forget answers that an attack on the hidden states has just made likely "
        "again. What is forgotten under attack is harder to bring back.",
        formula="-NLL(forget; shifted) + retain_weight NLL(retain), shift = argmin NLL(forget) in the radius",
        paper="Yuan et al. 2024, arXiv 2408.10682",
        cost=6.1,
        needs=frozenset({"forget", "retain"}),
        caution="Unstable as ascent is; the authors prefer AdvNPO.",
    )

    retain_weight: float = parameter(4.0, "Weight of the retain loss", 0.0, 100.0)


@dataclass(frozen=True)
class AdvNPO(Adversarial, NPO):
    info = Info(
        name="adv_npo",
        title="Adversarial NPO (AdvNPO)",
        family="representation",
        taxonomy="global weights",
        idea="NPO on forget answers that an attack on the hidden states has just made likely again. The "
        "reference is the original model without attack.",
        formula="NPO with NLL(forget; shifted) + retain_weight NLL(retain), shift = argmin NLL(forget) in "
        "the radius",
        paper="Yuan et al. 2024, arXiv 2408.10682",
        cost=6.1,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="Three times the cost of NPO.",
    )
