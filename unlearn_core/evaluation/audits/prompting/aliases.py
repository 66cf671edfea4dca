"""Under another name: the last name alone, an initial, the name turned round."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from unlearn_core.data.types import Example
from unlearn_core.evaluation import rephrase
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays
from unlearn_core.evaluation.rephrase import PromptVariant


@dataclass(frozen=True)
class Aliases(AskedInWays):
    """The question as trained, with the subject named in five other ways."""

    ways: ClassVar[tuple[str, ...]] = rephrase.ALIASES
    how: ClassVar[str] = f"under one of {len(rephrase.ALIASES)} other names"
    prompts_per_row: ClassVar[int] = len(rephrase.ALIASES)
    length: ClassVar[float] = 1.0
    info: ClassVar[AuditInfo] = AuditInfo(
        name="aliases",
        title="Under another name",
        idea="Forgotten subjects are called by the last or the first name alone, by an initial, or last name "
        "first. What was tied to one spelling of a name may answer to another.",
        source="RWKU, subject aliases (arXiv 2406.10890)",
        needs=frozenset({"controls"}),
    )

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        asked = [PromptVariant(way, text, row.output, row.kind) for way, text in rephrase.aliases(row)]
        return [replace(one, turns=row.turns) for one in asked]
