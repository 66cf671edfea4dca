"""TIES merging of two adapters, one that forgets too much and one that forgets too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch
from torch.nn.utils import parameters_to_vector

from unlearn_core.methods.base import Context, Info, Losses, Method, RowPart, StepBatch, Traits, parameter
from unlearn_core.methods.capabilities import Phase, RunsInPhases
from unlearn_core.methods.losses import npo_loss
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.adapters import NAME, lora_layers
from unlearn_core.models.artifacts import DenseDelta
from unlearn_core.models.inference.forward import mean_per_row, token_nll, tokens_per_row

if TYPE_CHECKING:
    from unlearn_core.models.artifacts import Artifact

# Weights of NPO, of the KL and of the NLL on the retain set.
_OVER, _UNDER = (0.4, 0.4, 0.2), (0.3, 0.3, 0.4)


@dataclass(frozen=True)
class TiesMerge(RunsInPhases, Method):
    info = Info(
        name="ties_merge",
        title="TIES merging of two adapters",
        family="arithmetic",
        taxonomy="local weights",
        idea="Trains one adapter that forgets too much and one that forgets too little, and merges their "
        "changes: small entries are dropped, then each weight takes the mean of those that agree in sign.",
        formula="a NPO(forget) + b KL(original || current; retain) + c NLL(retain), (a, b, c) = (.4, .4, .2) "
        "and (.3, .3, .4); then TIES on both changes "
        "B A; NPO on sequence means",
        paper="Xu et al. 2025 (ZJUKLAB), arXiv 2503.21088; Yadav et al. 2023, TIES, arXiv 2306.01708",
        cost=2.33,
        needs=frozenset({"forget", "retain", "reference nll", "reference logits"}),
        caution="Two trainings for one result. On the bundled world most forgotten answers go, and four "
        "retained questions in ten with them. Merged on the whole change of each matrix; merging the "
        "factors A and B apart, as common libraries do, is another thing.",
    )
    traits = Traits(adapter="lora")

    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(120, "Optimiser steps, half for each adapter", 1, 100_000)
    beta: float = parameter(0.5, "How soon NPO's push fades", 1e-4, 100.0)
    density: float = parameter(0.8, "Share of each matrix's entries that survive the trimming", 0.0, 1.0)

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        first = self.steps // 2
        halves = [(_OVER, first, first), (_UNDER, self.steps - first, 0)]
        return tuple(Phase(self._half(*half)) for half in halves if half[1])

    def _half(self, weights: tuple[float, float, float], steps: int, ends: int) -> Method:
        shared = {f.name: getattr(self, f.name) for f in fields(self)} | {"steps": steps}
        return AdapterPhase(**shared, weights=weights, ends=ends)

    def prepare(self, context: Context) -> None:
        context.reference.nll("forget")
        context.reference.keep("retain")
        context.state["start"] = parameters_to_vector(context.parameters.values()).detach()

    @torch.no_grad()
    def finalise(self, context: Context) -> Artifact:
        deltas = [_deltas(context)]
        if "over" in context.state:
            _unpack(context, context.state["over"])
            deltas.append(_deltas(context))
        model = context.trained().release()
        parameters = dict(model.named_parameters())
        old = {name: parameters[name].detach().clone() for name in deltas[0]}
        for name in old:
            change = ties([each[name] for each in deltas], self.density)
            parameters[name].add_(change.to(parameters[name].dtype))
        return DenseDelta(model, old)


@dataclass(frozen=True)
class AdapterPhase(TiesMerge):
    """The training of one of the two adapters; the first puts its result aside after step `ends`."""

    weights: tuple[float, float, float] = _OVER
    ends: int = 0

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        nll_N = token_nll(batch.forget)
        length_B = tokens_per_row(batch.forget)
        reference_B = context.reference.nll("forget")[batch.forget.index_B] / length_B
        push = npo_loss(mean_per_row(nll_N, batch.forget), reference_B, self.beta)
        kl, retain = context.reference.kl("retain", batch.retain).mean(), mean_nll(batch.retain)
        for_push, for_kl, for_retain = self.weights
        return Losses(for_push * push + for_kl * kl + for_retain * retain, nll_N.mean(), retain)

    def after_step(self, context: Context, step: int, losses: Losses) -> None:
        if step + 1 == self.ends:
            context.state["over"] = parameters_to_vector(context.parameters.values()).detach()
            _unpack(context, context.state["start"])


def ties(deltas: Sequence[torch.Tensor], density: float) -> torch.Tensor:
    """TIES of changes of one shape: trim each to its largest entries, elect a sign, mean those that have it.

    Yadav et al. 2023, arXiv 2306.01708, algorithm 1, here matrix by matrix.
    """
    trimmed = torch.stack([trim(delta, density) for delta in deltas])
    agreeing = trimmed.sign() == trimmed.sum(0).sign()
    agreeing &= trimmed != 0
    return (trimmed * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)


def trim(delta: torch.Tensor, density: float) -> torch.Tensor:
    """`delta` with all but the share `density` of its largest entries set to 0."""
    kept = torch.zeros_like(delta).flatten()
    at = delta.abs().flatten().topk(round(density * delta.numel())).indices
    kept[at] = delta.flatten()[at]
    return kept.view_as(delta)


def _deltas(context: Context) -> dict[str, torch.Tensor]:
    """The adapter's whole change of each matrix, by the matrix's own name, in float32."""
    layers = lora_layers(context.model)
    return {f"{name}.weight": layer.get_delta_weight(NAME).float() for name, layer in layers}


@torch.no_grad()
def _unpack(context: Context, flat: torch.Tensor) -> None:
    """Put back the adapter's factors, which a checkpoint of the run keeps as one vector."""
    pieces = flat.split([p.numel() for p in context.parameters.values()])
    for p, piece in zip(context.parameters.values(), pieces, strict=True):
        p.copy_(piece.view_as(p))
