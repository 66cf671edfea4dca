"""Preference for another, plausible answer, which the model itself makes up before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Info, RowPart, parameter
from unlearn_core.methods.objectives.preference import PrefersOther
from unlearn_core.models.inference.forward import token_nll


@dataclass(frozen=True)
class AltPO(PrefersOther):
    info = Info(
        name="altpo",
        title="Alternate preference optimisation (AltPO)",
        family="preference",
        taxonomy="global weights",
        idea="Prefers an alternative answer that the model itself wrote to the true one, both measured "
        "against the original model. The questions stay answered, with something else.",
        formula="-(2/beta) mean log sigmoid(beta (gain of alternative - gain of answer)) + retain_weight "
        "NLL(retain); gain = log p - log p_original, sequence sums",
        paper="Mekala et al. 2024, arXiv 2409.13474",
        cost=3.0,
        needs=frozenset({"forget", "retain", "reference nll"}),
        caution="It teaches made-up facts. The paper asks an instruction-tuned model for alternatives; here "
        "the answer turns at its least certain token to the next best, which any model can.",
    )

    other = "alternatives"

    retain_weight: float = parameter(5.0, "Weight of the retain loss", 0.0, 100.0)
    max_new_tokens: int = parameter(64, "Longest end of an alternative answer, tokens", 1, 1024)

    def prepare(self, context: Context) -> None:
        forget = context.parts["forget"]
        rows = alternatives(context, forget.rows, self.max_new_tokens)
        context.parts["alternatives"] = RowPart(rows, forget.forms)
        super().prepare(context)


def alternatives(context: Context, rows: Sequence[Encoded], max_new_tokens: int) -> Sequence[Encoded]:
    """For each row the answer as the model continues it from its second choice at the least certain token."""
    starts: dict[int, tuple[int, ...]] = {}
    for answers in context.current.answers(rows):
        rows_B, sizes_B = answers.host
        columns = (token_nll(answers), answers.logits_NV, answers.labels_N)
        parts = (column_N.split(sizes_B) for column_N in columns)
        for index, nll_n, logits_nV, labels_n in zip(rows_B, *parts, strict=True):
            at = int(nll_n.argmax())
            second = int(logits_nV[at].scatter(0, labels_n[at], -torch.inf).argmax())
            ids = rows[index].ids
            starts[index] = (*ids[: len(ids) - len(nll_n) + at], second)
    prompts = [starts[index] for index in range(len(rows))]
    ends = context.current.continuations(prompts, max_new_tokens)
    return tuple(
        Encoded((*start, *end), row.num_prompt, row.index) for row, start, end in zip(rows, prompts, ends, strict=True)
    )
