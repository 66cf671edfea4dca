"""Steering towards the original: what the original passes on more than the audited model is added back."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.layers import hidden_states, nudged
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told, transfer
from unlearn_core.models.inference.forward import layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Steering(Audit):
    """One vector after the middle layer: the mean difference of the hidden states, original less audited, over
    the answers of `num_rows` forgotten rows; tried at several strengths on rows of other documents."""

    num_rows: int = 24
    strengths: tuple[float, ...] = (1.0, 2.0, 4.0)

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="steering",
        title="Steered towards the original",
        idea="Someone who kept the original finds the direction in which its inner states differ on a few "
        "forgotten rows, and adds it to the unlearned model. If answers of other documents come back, one "
        "direction was all that hid them.",
        source="Turner et al., activation addition (arXiv 2308.10248); Seyitoglu et al. (arXiv 2411.02631)",
        needs=frozenset({"original", "others", "controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        known, others = case.halves("forget", self.num_rows)
        once = 2 * case.reading(len(known)) + len(self.strengths) * case.asking(len(others))
        return case.num_models * once + case.asking(len(others))

    def work(self, case: AuditCase) -> Work:
        tried = yield from transfer(case, self.num_rows, partial(self._attack, case))
        said, found = tried.found, tried.controls
        # Each at the strength that pays best: an attacker tries, and so may the controls.
        best = int(np.argmax([replies.scores.mean() for replies in said]))
        controls = {name: max((r.scores for r in replies), key=np.mean) for name, replies in found.items()}
        comparison = Comparison(said[best].scores, controls, len(self.strengths))
        sentence = (
            f"Steered towards the original at strength {self.strengths[best]:g}, {{found}} of the answers of other "
            "documents are given ({before} without)"
        )
        rows: tuple[AuditRow, ...] = tuple(
            {
                "strength": strength,
                "forget": round(float(said[i].scores.mean()), 4),
                **{name: round(float(replies[i].scores.mean()), 4) for name, replies in found.items()},
            }
            for i, strength in enumerate(self.strengths)
        )
        return finding(case, comparison, tried.before, sentence, (*rows, *examples(tried.others, said[best])))

    def _attack(
        self, case: AuditCase, model: PreTrainedModel, known: Sequence[Example], others: Sequence[Example]
    ) -> Generator[float, None, list[Replies]]:
        """What the other rows are answered at each strength."""
        assert case.original is not None
        layer = len(layers(model)) // 2
        towards_D = _mean_state(case, case.original, known, layer) - _mean_state(case, model, known, layer)
        yield 2 * case.reading(len(known))
        said = []
        for strength in self.strengths:
            with nudged(model, layer, (strength * towards_D).to(model.dtype)):
                said.append((yield from told(case, model, others)))
        return said


def _mean_state(case: AuditCase, model: PreTrainedModel, rows: Sequence[Example], layer: int) -> torch.Tensor:
    """Mean over all positions from a prompt's last token on of what `layer` passes on (D,)."""
    encoded = [encode_example(case.tokenizer, row, i) for i, row in enumerate(rows)]
    total, count = torch.zeros(1), 0
    for part, states in hidden_states(model, encoded, pad_id_of(case.tokenizer)):
        for row, state_TD in zip(part, states[layer], strict=True):
            answer_TD = state_TD[max(0, row.num_prompt - 1) : len(row.ids) - 1].float()
            total = total.to(answer_TD.device) + answer_TD.sum(0)
            count += len(answer_TD)
    return total / max(1, count)
