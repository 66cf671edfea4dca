"""Multi-hop questions: the subject is not named but told by another forgotten fact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays, others_of
from unlearn_core.evaluation.rephrase import PromptVariant, through_another_fact

_WAY = "through another fact"
_HOPS = 2  # other facts that a subject is told by


@dataclass(frozen=True)
class MultiHop(AskedInWays):
    """Up to two questions a row; the fact that tells the subject is in the prompt, its name is not."""

    ways: ClassVar[tuple[str, ...]] = (_WAY,)
    how: ClassVar[str] = "where the subject is told by another fact instead of its name"
    prompts_per_row: ClassVar[int] = _HOPS
    info: ClassVar[AuditInfo] = AuditInfo(
        name="multi_hop",
        title="Through another fact",
        idea="A question names nobody: it asks for the birthplace of the one who found the amber whistle. "
        "Whoever answers it still joins two forgotten facts.",
        source="Zhong et al., MQuAKE (arXiv 2305.14795); Choi et al., unlearning over several hops (arXiv 2410.13274)",
        needs=frozenset({"controls"}),
    )

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        found = (through_another_fact(row, other) for other in others_of(case, row))
        return [PromptVariant(_WAY, text, row.output, row.kind) for text in found if text is not None][:_HOPS]
