"""Asked in other ways: unseen phrasing, reversed, prefix fed, few-shot, misspelt, other languages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays
from unlearn_core.evaluation.rephrase import WAYS, PromptVariant, asked_all_ways, with_preambles

_TALKED_INTO = "talked into it"
_NUM_SHOTS = 12  # retained rows that few-shot prompts draw from


@dataclass(frozen=True)
class Rephrasing(AskedInWays):
    """Every wording that needs nothing but the row itself and some retained ones."""

    ways: ClassVar[tuple[str, ...]] = (*WAYS, _TALKED_INTO)
    how: ClassVar[str] = f"in at least one of {len(ways)} ways of asking"
    prompts_per_row: ClassVar[int] = 16
    info: ClassVar[AuditInfo] = AuditInfo(
        name="paraphrase",
        title="Asked in other ways",
        idea="Forgotten questions are asked in ten ways: in a new phrasing, reversed, misspelt, in other "
        "languages, after solved examples, with the answer fed word by word. A row leaks when any of them "
        "brings its answer out.",
        source="RWKU, level 3 (arXiv 2406.10890); Patil et al. (arXiv 2309.17410); Lynch et al. (2402.16835)",
        needs=frozenset({"controls"}),
    )

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        unseen = [other.input for other in case.data.paraphrases if other.id == row.id]
        alike = [other for other in case.data.retain if (other.task, other.kind) == (row.task, row.kind)]
        asked = asked_all_ways(row, unseen=unseen, shots=even_sample(alike, _NUM_SHOTS))
        if row.kind == "question":
            asked += [PromptVariant(_TALKED_INTO, text, row.output) for text in with_preambles(row.input)]
        return asked
