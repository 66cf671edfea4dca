"""Ways to train that any gradient method can take: a mask on the weights, an attack on hidden states, a climb
before each step, noise and a distillation after them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from unlearn_core.methods.base import (
    BatchComposition,
    Context,
    Info,
    Losses,
    Method,
    RowPart,
    StepBatch,
    Traits,
    parameter,
)
from unlearn_core.methods.capabilities import (
    AttacksLatents,
    LatentAttack,
    PerturbsWeights,
    Phase,
    RunsInPhases,
    SeesGradients,
)
from unlearn_core.methods.objectives.gradient import GradDiff
from unlearn_core.methods.objectives.preference import NPO, SimNPO
from unlearn_core.methods.objectives.weighted import WGA
from unlearn_core.models.inference.forward import token_nll

BASES: dict[str, type[Method]] = {"grad_diff": GradDiff, "npo": NPO, "simnpo": SimNPO, "wga": WGA}


@dataclass(frozen=True)
class Wrapping(Method):
    """A way to train any method of BASES: its losses and its make-up of a step, on this one's schedule."""

    base: str = parameter("npo", "The method that is trained in this way", choices=tuple(BASES))

    @cached_property
    def inner(self) -> Method:
        """The method whose losses are minimised."""
        return BASES[self.base].on_schedule_of(self, self.steps)

    def mix(self) -> BatchComposition:
        return self.inner.mix()

    def prepare(self, context: Context) -> None:
        self.inner.prepare(context)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        return self.inner.losses(context, batch)


@dataclass(frozen=True)
class Masked(SeesGradients, Wrapping):
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
        "that matter to both sets. On the bundled world and on real text it ends where SimNPO ends without the mask "
        "(task aggregate .87 and .91 against .86 and .92, MIA score at most .01).",
    )
    traits = Traits(adapter="full")  # LoRA's factors start with no forget gradient to attribute

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    base: str = parameter("simnpo", "The method trained under the mask", choices=tuple(BASES))
    share: float = parameter(0.8, "Share of the weights that train", 0.001, 1.0)
    curvature: float = parameter(1e-6, "Assumed curvature of the retain loss", 1e-12, 1e6)

    def prepare(self, context: Context) -> None:
        """Score the weights by one pass over each set, and remember which are left out."""
        super().prepare(context)
        forget = context.current.gradient(context.parts["forget"].rows)
        retain = context.current.gradient(context.parts["retain"].rows)
        scores = {
            name: attribution(p.detach(), forget[name], retain[name], self.curvature)
            for name, p in context.parameters.items()
        }
        context.state["mask"] = top_share(scores, self.share)

    def after_backward(self, context: Context) -> None:
        for name, weight in context.parameters.items():
            if weight.grad is not None:
                weight.grad *= context.state["mask"][name]


def attribution(weight: torch.Tensor, forget: torch.Tensor, retain: torch.Tensor, curvature: float) -> torch.Tensor:
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
class Adversarial(AttacksLatents, Method):
    """Put before a method (`class AdvNPO(Adversarial, NPO)`): it then trains under a latent attack."""

    depth: float = parameter(0.25, "Where the attack enters, as a share of the depth", 0.0, 0.99)
    radius: float = parameter(0.3, "Largest norm of a sequence's shift; 0 for no attack", 0.0, 1e4)
    rounds: int = parameter(6, "Steps of the attack", 1, 100)

    def attack(self, num_layers: int) -> LatentAttack | None:
        layer = min(num_layers - 1, int(self.depth * num_layers))
        return LatentAttack(layer, self.radius, self.rounds) if self.radius else None


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
        formula="NPO with NLL(forget; shifted) + retain_weight NLL(retain), shift = argmin NLL(forget) in the radius",
        paper="Yuan et al. 2024, arXiv 2408.10682",
        cost=6.1,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="Three times the cost of NPO.",
    )


@dataclass(frozen=True)
class LatentTraining(Adversarial, Wrapping):
    info = Info(
        name="lat",
        title="Latent adversarial training (LAT)",
        family="representation",
        taxonomy="global weights",
        idea="Any gradient method, trained on forget answers that an attack on the hidden states has just made "
        "likely again. What is forgotten under attack is harder to bring back.",
        formula="losses of the base with NLL(forget; shifted), shift = argmin NLL(forget) in the radius",
        paper="Sheshadri et al. 2024, arXiv 2407.15549",
        cost=6.1,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="Three times the cost of its base. The attack seeks the forget answers themselves, where the "
        "authors also train against chosen bad ones.",
    )

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    base: str = parameter("simnpo", "The method that is trained under attack", choices=tuple(BASES))


@dataclass(frozen=True)
class SharpnessAware(PerturbsWeights, Wrapping):
    info = Info(
        name="sam",
        title="Sharpness-aware minimisation (SAM)",
        family="gradient",
        taxonomy="global weights",
        idea="Each step first climbs its own loss a little way and takes the gradient there. It ends where the "
        "loss is low all around, so that a few steps of relearning do not lead out.",
        formula="gradient of the base's total at w + radius g / |g|, g = gradient of the same at w",
        paper="Fan et al. 2025, arXiv 2502.05374; Foret et al. 2020, arXiv 2010.01412",
        cost=4.0,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="Twice the cost of its base. It climbs the whole loss, where Fan et al. climb its forget part.",
    )
    traits = Traits(weight_copies=1)  # the weights without the perturbation

    learning_rate: float = parameter(1e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    radius: float = parameter(0.05, "How far a step climbs, as a norm of all weights; 0: not at all", 0.0, 1e4)

    @property
    def perturbation_radius(self) -> float:
        return self.radius


TEACHER = "teacher."  # before the names of the weights that the distillation learns from


@dataclass(frozen=True)
class Undo(RunsInPhases, Wrapping):
    info = Info(
        name="undo",
        title="Unlearn, noise, distil on outputs (UNDO)",
        family="recipe",
        taxonomy="global weights",
        idea="Any gradient method first takes the answers away. Its weights are then mixed with noise, and learn "
        "from what they were before, on retained and general rows alone: what was only suppressed is not passed on.",
        formula="w = (1 - noise) w + noise noise_scale N, N as at the start of a training; then "
        "KL(suppressed || current; retain)",
        paper="Lee et al. 2025, Distillation Robustifies Unlearning, arXiv 2506.06278",
        cost=2.0,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="The authors distil on far more text than a forget set has beside it; with little of it the noise "
        "that can be repaired is small.",
    )
    # The noise goes into the weights that hold the knowledge; the copy is what the distillation learns from.
    traits = Traits(adapter="full", weight_copies=1, any_step_can_end=False)

    steps: int = parameter(120, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    share: float = parameter(0.4, "Share of the steps in which the base is trained", 0.01, 0.99)
    noise: float = parameter(0.1, "Share of each weight that is exchanged for noise", 0.0, 1.0)
    noise_scale: float = parameter(0.1, "Size of the noise, of that of weights at the start of a training", 0.0, 10.0)

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        first = min(self.steps, max(1, round(self.share * self.steps)))
        suppressed = Phase(replace(self, steps=first))
        rest = self.steps - first
        return (suppressed, Phase(_Distilled.on_schedule_of(self, rest))) if rest else (suppressed,)

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        if step + 1 == self.steps:
            for name, weight in context.parameters.items():
                context.state[TEACHER + name] = weight.detach().clone()
            mix_with_noise(context.parameters, self.noise, self.noise_scale, context.seed)


@torch.no_grad()
def mix_with_noise(weights: Mapping[str, torch.Tensor], share: float, scale: float, seed: int) -> None:
    """(1 - share) w + share scale N for every matrix w, N normal with Glorot's deviation sqrt(2 / (in + out))."""
    drawn = torch.Generator().manual_seed(seed)
    for weight in weights.values():
        if weight.dim() < 2:
            continue
        deviation = (2 / (weight.shape[-1] + weight.shape[-2])) ** 0.5
        noise = torch.randn(weight.shape, generator=drawn).to(weight.device, weight.dtype)
        weight.mul_(1 - share).add_(noise, alpha=share * scale * deviation)


@dataclass(frozen=True)
class _Distilled(Method):
    """The second part of UNDO: learn from the weights of the first, on retained and general rows."""

    info = Undo.info

    def mix(self) -> BatchComposition:
        return BatchComposition(1, self.batch_size)  # one forget row, for the curve

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        with torch.no_grad(), _as_teacher(context):
            told_NV = context.current.predictions(context.rows["retain"]).logits_NV.float().log_softmax(-1)
        own_NV = batch.retain.logits_NV.float().log_softmax(-1)
        total = torch.nn.functional.kl_div(own_NV, told_NV, reduction="batchmean", log_target=True)
        return Losses(total, token_nll(batch.forget).mean().detach(), token_nll(batch.retain).mean().detach())


@contextmanager
def _as_teacher(context: Context) -> Iterator[None]:
    """The model with the weights that are learned from."""
    own = {name: weight.data for name, weight in context.parameters.items()}
    try:
        for name, weight in context.parameters.items():
            weight.data = context.state[TEACHER + name]
        yield
    finally:
        for name, weight in context.parameters.items():
            weight.data = own[name]
