"""Recipes of the SemEval-2025 entries and of the founding paper: phases, frozen parts, presets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

from unlearn_core.data.encode import epoch_order
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
from unlearn_core.methods.capabilities import Phase, RunsInPhases, TrainsSubset
from unlearn_core.methods.losses import npo_loss
from unlearn_core.methods.objectives.gradient import GradAscent, mean_nll
from unlearn_core.models.inference.forward import layer_of, mean_per_row, sum_per_row, token_nll


@dataclass(frozen=True)
class SUGD(RunsInPhases, Method):
    info = Info(
        name="sugd",
        title="Sequential chunks (SUGD)",
        family="recipe",
        taxonomy="global weights",
        idea="Forgets chunk by chunk, each with a fresh optimiser and schedule and seven retain sequences "
        "for every forget sequence. The retain set is gone through in turn, so all of it is seen.",
        formula="mean over sequences of factor NLL, factor -1 (forget) and retain_factor (retain); "
        "NLL is a sequence mean",
        paper="Premptis et al. 2025 (AILS-NTUA), arXiv 2503.02443",
        cost=8.0,
        needs=frozenset({"forget", "retain"}),
        caution="Eight sequences for each one forgotten. The authors train the last layers only; here all "
        "layers train.",
    )

    learning_rate: float = parameter(1.5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    batch_size: int = parameter(8, "Forget sequences per step", 1, 4096)
    num_chunks: int = parameter(4, "Chunks the forget set is split into", 1, 1000)
    retain_per_forget: int = parameter(7, "Retain sequences for each forget sequence", 1, 100)
    retain_factor: float = parameter(0.5, "Factor of a retain sequence's NLL", 0.0, 100.0)

    def mix(self) -> BatchComposition:
        return BatchComposition(self.batch_size, self.batch_size * self.retain_per_forget)

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        """One phase a chunk; retain rows are handed out in turn, all before any comes again."""
        chunks = split(epoch_order(len(parts["forget"].rows), seed, 0), min(self.num_chunks, self.steps))
        order, start, found = epoch_order(len(parts["retain"].rows), seed, 1), 0, []
        for chunk, steps in zip(chunks, shares(self.steps, len(chunks)), strict=True):
            count = min(len(order), self.retain_per_forget * len(chunk))
            retain = sorted(order[(start + n) % len(order)] for n in range(count))
            start += count
            found.append(Phase(replace(self, steps=steps), {"forget": chunk, "retain": retain}))
        return tuple(found)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        forget_B = mean_per_row(token_nll(batch.forget), batch.forget)
        retain_B = mean_per_row(token_nll(batch.retain), batch.retain)
        total = self.retain_factor * retain_B.sum() - forget_B.sum()
        total = total / (len(forget_B) + len(retain_B))
        return Losses(total, mean_nll(batch.forget).detach(), mean_nll(batch.retain).detach())


@dataclass(frozen=True)
class Annealing(Method):
    """The phase of AGAD that trains the retain set."""

    def mix(self) -> BatchComposition:
        return BatchComposition(0, self.batch_size)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        retain = mean_nll(batch.retain)
        return Losses(retain, None, retain)


@dataclass(frozen=True)
class AGAD(RunsInPhases, Method):
    info = Info(
        name="agad",
        title="Alternating ascent and descent (AGAD)",
        family="recipe",
        taxonomy="global weights",
        idea="Alternates gradient ascent on a chunk of the forget set with ordinary training on a part of "
        "the retain set, each with a fresh optimiser. The last phase trains on all of the retain set.",
        formula="-NLL(forget chunk), then NLL(retain), in turn; token means",
        paper="Premptis et al. 2025 (AILS-NTUA), arXiv 2503.02443",
        cost=1.0,
        needs=frozenset({"forget", "retain"}),
        caution="What ascent breaks, annealing repairs only as far as the retain set reaches.",
    )

    learning_rate: float = parameter(1.5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    num_chunks: int = parameter(4, "Chunks the forget set is split into", 1, 1000)
    ascent_share: float = parameter(0.35, "Share of the steps that ascend", 0.01, 0.99)
    annealing_share: float = parameter(0.25, "Share of the retain set in all annealing phases but the last", 0.01, 1.0)

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        """Ascent and annealing in turn, as many pairs as chunks."""
        if self.steps < 2:
            return (Phase(GradAscent.on_schedule_of(self, self.steps)),)
        up = min(self.steps - 1, max(1, round(self.ascent_share * self.steps)))
        count = min(self.num_chunks, up, self.steps - up)
        chunks = split(epoch_order(len(parts["forget"].rows), seed, 0), count)
        count = len(chunks)
        num_retain, found = len(parts["retain"].rows), []
        lengths = zip(shares(up, count), shares(self.steps - up, count), strict=True)
        for place, (ascent, annealing) in enumerate(lengths):
            kept = max(1, round(self.annealing_share * num_retain)) if place < count - 1 else num_retain
            rows = sorted(epoch_order(num_retain, seed, 1 + place)[:kept])
            found.append(Phase(GradAscent.on_schedule_of(self, ascent), {"forget": chunks[place]}))
            found.append(Phase(Annealing.on_schedule_of(self, annealing), {"retain": rows}))
        return tuple(found)


@dataclass(frozen=True)
class ConstrainedMLP(TrainsSubset, Method):
    info = Info(
        name="constrained_mlp",
        title="Constrained early-MLP update",
        family="recipe",
        taxonomy="local weights",
        idea="Gradient difference that changes only the MLPs of the first layers, where facts are recalled. "
        "The weight of the retain set rises when its loss does.",
        formula="-NLL(forget) + m NLL(retain), m = clip(round(0.3 * 6^(rise of NLL(retain) over the last "
        "epoch's mean) + 0.8, 1), 1.2, 2.3); token means",
        paper="Agrawal and Huang 2025 (SHA256), arXiv 2504.12996",
        cost=1.4,
        needs=frozenset({"forget", "retain"}),
        caution="Unbounded below, as gradient difference is. The authors train 6 of 16 layers; here it is a "
        "share of the depth.",
    )

    learning_rate: float = parameter(1.5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    depth: float = parameter(0.375, "Share of the layers, from the bottom, whose MLPs train", 0.01, 1.0)

    def trains(self, name: str, num_layers: int) -> bool:
        layer = layer_of(name)
        return layer is not None and ".mlp." in name and layer < max(1, round(self.depth * num_layers))

    def prepare(self, context: Context) -> None:
        context.state["retain_losses"] = []

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget, retain = mean_nll(batch.forget), mean_nll(batch.retain)
        weight = 1.2
        seen = context.state["retain_losses"]
        epoch = max(1, len(context.parts["forget"].rows) // self.batch_size)
        if len(seen) >= epoch:
            last = (len(seen) // epoch - 1) * epoch
            weight = retain_multiplier(float(retain.detach()) - sum(seen[last : last + epoch]) / epoch)
        return Losses(weight * retain - forget, forget, retain)

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        assert losses.retain is not None
        context.state["retain_losses"].append(float(losses.retain.detach()))


def retain_multiplier(rise: float) -> float:
    """m for a retain loss that lies `rise` nats above the last epoch's mean."""
    return min(2.3, max(1.2, round(0.3 * 6 ** min(rise, 10.0) + 0.8, 1)))


@dataclass(frozen=True)
class AdapterNPO(Method):
    info = Info(
        name="adapter_npo",
        title="Adapter-off NPO",
        family="recipe",
        taxonomy="local weights",
        idea="NPO on a LoRA adapter, whose reference is the same model with the adapter switched off. "
        "Nothing is stored and no second model is loaded.",
        formula="-(2/beta) mean log sigmoid(beta (NLL(forget) - NLL_adapter_off(forget))) "
        "+ retain_weight NLL(retain); sequence sums in the first term",
        paper="Zhang et al. 2024, arXiv 2404.05868, on Hu et al. 2021, arXiv 2106.09685",
        cost=2.33,
        needs=frozenset({"forget", "retain"}),
        caution="One forward pass more per step than NPO with stored references.",
    )
    traits = Traits(adapter="lora")

    learning_rate: float = parameter(5e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    beta: float = parameter(0.5, "How soon the push fades; towards 0 it is gradient ascent", 1e-4, 100.0)
    retain_weight: float = parameter(5.0, "Weight of the retain loss", 0.0, 100.0)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        forget = batch.forget
        nll_N = token_nll(forget)
        reference_NV = context.reference.log_probs("forget", forget)
        reference_N = -reference_NV.gather(1, forget.labels_N[:, None])[:, 0]
        push = npo_loss(sum_per_row(nll_N, forget), sum_per_row(reference_N, forget), self.beta)
        retain = mean_nll(batch.retain)
        return Losses(push + self.retain_weight * retain, nll_N.mean(), retain)


def split(rows: list[int], count: int) -> list[list[int]]:
    """`rows` in `count` disjoint chunks of nearly equal size, in ascending order; none is empty."""
    count = min(count, len(rows))
    ends = [len(rows) * n // count for n in range(count + 1)]
    return [sorted(rows[a:b]) for a, b in pairwise(ends)]


def shares(total: int, count: int) -> list[int]:
    """`total` in `count` whole parts that differ by at most 1."""
    return [total * (n + 1) // count - total * n // count for n in range(count)]
