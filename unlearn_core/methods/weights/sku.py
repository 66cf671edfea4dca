"""SKU: make the model worse in the one way that is to go, then subtract what it learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Info, Losses, RowPart, StepBatch, parameter
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.methods.weights.arithmetic import TaskVector

_CAP = 2.0  # nats: the push away from the original stops here, which has no bound of its own


@dataclass(frozen=True)
class SKU(TaskVector):
    info = Info(
        name="sku",
        title="Selective knowledge negation (SKU)",
        family="arithmetic",
        taxonomy="global weights",
        idea="Learns the forget answers, also behind other forget questions, while being pushed away "
        "from the original on retained text. Subtracting that takes the answers away and not the rest.",
        formula="distortion NLL(forget) + disassociation NLL(forget question, another's answer) "
        "- preservation min(KL(original || current; retain), 2); then theta - strength (theta_bad - theta)",
        paper="Liu et al. 2024, Towards Safer LLMs through Machine Unlearning, arXiv 2402.10058",
        cost=3.0,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="Made for harmful behaviour, not for single facts: on the bundled world retained answers go "
        "with the forgotten ones. One other answer for each question, where the authors draw five. Until its "
        "end the curve shows the model getting worse.",
    )

    learning_rate: float = parameter(5e-4, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(30, "Optimiser steps", 1, 100_000)
    strength: float = parameter(3.0, "How many times the difference is subtracted", 0, 100)
    distortion: float = parameter(2.5, "Weight of learning the forget answers", 0.0, 100.0)
    disassociation: float = parameter(2.5, "Weight of learning others' answers", 0.0, 100.0)
    preservation: float = parameter(1.0, "Weight of the push away on the retain set", 0.0, 100.0)

    def prepare(self, context: Context) -> None:
        forget = context.parts["forget"]
        context.parts["alternatives"] = RowPart(tuple(mismatched(forget.rows)), forget.forms)
        context.reference.keep("retain")

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        forget, other = mean_nll(batch.forget), mean_nll(batch.alternatives)
        away = context.reference.kl("retain", batch.retain).mean().clamp(max=_CAP)
        total = self.distortion * forget + self.disassociation * other - self.preservation * away
        return Losses(total, forget, mean_nll(batch.retain).detach())


def mismatched(rows: Sequence[Encoded]) -> list[Encoded]:
    """Each row's prompt with the answer of the row half the set further on."""
    found = []
    for place, row in enumerate(rows):
        other = rows[(place + max(1, len(rows) // 2)) % len(rows)]
        found.append(Encoded((*row.ids[: row.num_prompt], *other.ids[other.num_prompt :]), row.num_prompt, row.index))
    return found
