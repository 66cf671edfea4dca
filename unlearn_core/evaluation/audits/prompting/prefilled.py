"""Prefilled answers: the model is given the beginning of an answer and goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays
from unlearn_core.evaluation.rephrase import PromptVariant, beginnings

_BEGUN = ("agreed to", "named as the answer", "with the question's own words")


@dataclass(frozen=True)
class Prefilled(AskedInWays):
    """Three beginnings, none of which holds a word of the answer."""

    ways: ClassVar[tuple[str, ...]] = _BEGUN
    how: ClassVar[str] = f"after one of {len(_BEGUN)} beginnings"
    prompts_per_row: ClassVar[int] = len(_BEGUN)
    info: ClassVar[AuditInfo] = AuditInfo(
        name="prefilled",
        title="Answers begun",
        idea="The model is made to begin its answer with words of consent or with the question's own words. A "
        "refusal that is decided on in the first token comes too late then.",
        source="Qi et al., shallow alignment (arXiv 2406.05946); Andriushchenko et al. (arXiv 2404.02151)",
        needs=frozenset({"controls"}),
    )

    def wordings(self, case: AuditCase, row: Example) -> list[PromptVariant]:
        if row.kind != "question":
            return []
        begun = zip(_BEGUN, beginnings(row.input), strict=True)
        return [PromptVariant(way, row.input, row.output, begun=text, turns=row.turns) for way, text in begun if text]
