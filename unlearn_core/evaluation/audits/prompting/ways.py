"""Rows asked in several ways: a row counts when any of them brings its answer.

What an audit of this kind adds is its list of ways and the prompts of each; asking, counting, controls and
words are the same.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import Comparison, exceeds
from unlearn_core.evaluation.audits.measure import controls_in_words, recall, share
from unlearn_core.evaluation.rephrase import PromptVariant
from unlearn_core.models.generation.generate import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class AskedInWays(Audit):
    """The greedy answer to every prompt; controls are never-trained rows and the retain-only model, asked alike."""

    max_rows: int = 60

    ways: ClassVar[tuple[str, ...]] = ()
    how: ClassVar[str] = ""  # what follows on "12% of the forgotten answers come out"
    prompts_per_row: ClassVar[int] = 1  # about
    length: ClassVar[float] = 1.5  # of a prompt, in prompts as they were trained

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        """The prompts of `row`, each of one of the `ways`; none where it cannot be asked so."""
        raise NotImplementedError

    def cost(self, case: AuditCase) -> float:
        rows = min(self.max_rows, len(case.forget))
        return case.num_models * case.asking(self.prompts_per_row * rows, self.length)

    def work(self, case: AuditCase) -> Work:
        forget, holdout = (self._askable(case, rows) for rows in (case.forget, case.holdout))
        heard = {"forget": (yield from self.heard(case, case.model, forget))}
        if holdout:
            heard["holdout"] = yield from self.heard(case, case.model, holdout)
        if case.retain_only is not None:
            heard["retain_only"] = yield from self.heard(case, case.retain_only, forget)
        return self._finding(case, heard)

    def missing(self, case: AuditCase) -> str | None:
        reason = super().missing(case)
        if reason is None and not any(self.wordings(case, row) for row in case.forget):
            return "No forgotten row can be asked in this way."
        if reason is None and case.retain_only is None and not any(self.wordings(case, row) for row in case.holdout):
            return "No never-trained row can be asked in this way, so there is nothing to compare with."
        return reason

    def _askable(self, case: AuditCase, rows: Sequence[Example]) -> list[Example]:
        return even_sample([row for row in rows if self.wordings(case, row)], self.max_rows)

    def heard(
        self, case: AuditCase, model: PreTrainedModel, rows: Sequence[Example]
    ) -> Generator[float, None, PromptScores]:
        """What `model` makes of every prompt of the rows."""
        asked = [(place, wording) for place, row in enumerate(rows) for wording in self.wordings(case, row)]
        scores = np.zeros((len(self.ways), len(rows)))
        shown: dict[str, dict[str, Any]] = {}
        prompts = [wording.put for _, wording in asked]
        for batch in generate(model, case.tokenizer, prompts, case.answer_limit):
            for index, text in zip(batch.indices, batch.texts, strict=True):
                place, wording = asked[index]
                score = recall(wording.kind, wording.answer, text)
                at = self.ways.index(wording.way)
                scores[at, place] = max(scores[at, place], score)
                if score >= shown.get(wording.way, {}).get("score", 0.0):
                    shown[wording.way] = {
                        "prompt": wording.shown[-300:],
                        "answer": wording.answer,
                        "said": text.strip()[:300],
                        "score": round(score, 3),
                    }
            yield case.asking(len(batch.indices), self.length)
        return PromptScores(scores, shown)

    def _finding(self, case: AuditCase, heard: dict[str, PromptScores]) -> Finding:
        ours = heard["forget"].scores
        controls = {name: found.scores for name, found in heard.items() if name != "forget"}
        any_way = Comparison(ours.max(0), {name: scores.max(0) for name, scores in controls.items()})
        figures = any_way.figures
        headline = f"{share(figures['forget'])} of the forgotten answers come out {self.how}"
        if "as trained" in self.ways:
            figures["before"] = float(ours[self.ways.index("as trained")].mean())
            headline += f" ({share(figures['before'])} asked as trained)"
        rows: list[AuditRow] = []
        for at, way in enumerate(self.ways):
            means = {name: round(float(found.scores[at].mean()), 4) for name, found in heard.items()}
            leaks = all(exceeds(ours[at], scores[at], len(self.ways)) for scores in controls.values())
            rows.append({"way": way, **means, "leaks": leaks, **heard["forget"].shown.get(way, {})})
        headline += f"; {controls_in_words(case, any_way)}."
        if leaking := [row["way"] for row in rows if row["leaks"]]:
            headline += f" Ways that leak: {', '.join(leaking)}."
        return Finding(any_way.leaks or bool(leaking), headline, figures, tuple(rows))


@dataclass(frozen=True)
class PromptScores:
    """Scores (ways, rows), 0 where a wording could not be made, and the most telling answer per way."""

    scores: np.ndarray
    shown: dict[str, dict[str, Any]]


def others_of(case: AuditCase, row: Example) -> list[Example]:
    """The other rows of the same document, in the set that the row is from."""
    return [other for other in case.of_document(row) if other.id != row.id and other.output != row.output]
