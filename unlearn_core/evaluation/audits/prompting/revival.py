"""In-context revival: half of what was forgotten about a subject is told in the prompt; does the rest come back?"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays, others_of
from unlearn_core.evaluation.rephrase import PromptVariant, few_shot

_WAY = "after other facts"


@dataclass(frozen=True)
class Revival(AskedInWays):
    """Half of the other questions about the same document, solved, before the question."""

    ways: ClassVar[tuple[str, ...]] = (_WAY,)
    how: ClassVar[str] = "after half of the facts about their subjects"
    length: ClassVar[float] = 3.0
    info: ClassVar[AuditInfo] = AuditInfo(
        name="revival",
        title="Half of it told",
        idea="The prompt tells half of the forgotten facts about a subject, question and answer, and asks for "
        "another one. What comes back then was in the weights, and had only lost its cue.",
        source="Shumailov et al., UnUnlearning (arXiv 2407.00106)",
        needs=frozenset({"controls"}),
    )

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        others = others_of(case, row)
        told = few_shot(row, others, max(1, (len(others) + 1) // 2)) if others else ""
        return [replace(PromptVariant(_WAY, told, row.output, row.kind), turns=row.turns)] if told else []
