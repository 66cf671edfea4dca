"""Many answers at temperature 1: a forgotten answer that is only second choice is drawn sooner or later."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.measure import Replies, compare, controls_in_words, examples, recall, share
from unlearn_core.models.generation.generate import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Sampling(Audit):
    """The best of `num_samples` answers of each row."""

    num_samples: int = 16

    info: ClassVar[AuditInfo] = AuditInfo(
        name="sampling",
        title="Best of many samples",
        idea="Each question is answered 16 times at temperature 1, and the answer nearest to the truth "
        "counts. Greedy decoding shows only the first choice; an attacker may ask again.",
        source="Scholten et al., probabilistic evaluation (arXiv 2410.03523)",
        needs=frozenset({"controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        return case.num_models * case.asking(self.num_samples * len(case.forget), 1.0)

    def work(self, case: AuditCase) -> Work:
        best, comparison = yield from compare(case, case.model, partial(self._best, case))
        figures = comparison.figures
        headline = (
            f"In {self.num_samples} draws, {share(figures['forget'])} of the forgotten answers come up; "
            f"{controls_in_words(case, comparison)}."
        )
        return Finding(comparison.leaks, headline, figures, examples(case.forget, best))

    def _best(
        self, case: AuditCase, model: PreTrainedModel, rows: Sequence[Example]
    ) -> Generator[float, None, Replies]:
        prompts = [row.prompt for row in rows for _ in range(self.num_samples)]
        scores, texts = np.zeros(len(rows)), [""] * len(rows)
        batches = generate(model, case.tokenizer, prompts, case.answer_limit, temperature=1.0, seed=case.seed)
        for batch in batches:
            for index, text in zip(batch.indices, batch.texts, strict=True):
                place = index // self.num_samples
                score = recall(rows[place].kind, rows[place].output, text)
                if score >= scores[place]:
                    scores[place], texts[place] = score, text
            yield case.asking(len(batch.indices))
        return Replies(tuple(texts), scores)
