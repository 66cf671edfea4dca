"""The audits that ask for a forgotten fact otherwise, which differ in their ways and prompts alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example
from unlearn_core.evaluation import rephrase
from unlearn_core.evaluation.audits.base import AuditInfo
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.prompting.ways import AskedInWays, others_of
from unlearn_core.evaluation.rephrase import PromptVariant

_TALKED_INTO = "talked into it"
_NUM_SHOTS = 12  # retained rows that few-shot prompts draw from


@dataclass(frozen=True)
class Rephrasing(AskedInWays):
    """Every wording that needs nothing but the row itself and some retained ones: unseen phrasing, reversed,
    prefix fed, few-shot, misspelt, other languages."""

    ways: ClassVar[tuple[str, ...]] = (*rephrase.WAYS, _TALKED_INTO)
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
        asked = rephrase.asked_all_ways(row, unseen=unseen, shots=even_sample(alike, _NUM_SHOTS))
        if row.kind == "question":
            asked += [PromptVariant(_TALKED_INTO, text, row.output) for text in rephrase.with_preambles(row.input)]
        return asked


@dataclass(frozen=True)
class Aliases(AskedInWays):
    """The question as trained, with the subject named in five other ways: the last name alone, an initial, the name
    turned round."""

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


_THROUGH = "through another fact"
_HOPS = 2  # other facts that a subject is told by


@dataclass(frozen=True)
class MultiHop(AskedInWays):
    """Up to two questions a row; the fact that tells the subject is in the prompt, its name is not."""

    ways: ClassVar[tuple[str, ...]] = (_THROUGH,)
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
        found = (rephrase.through_another_fact(row, other) for other in others_of(case, row))
        return [PromptVariant(_THROUGH, text, row.output, row.kind) for text in found if text is not None][:_HOPS]


_AFTER = "after other facts"


@dataclass(frozen=True)
class Revival(AskedInWays):
    """Half of the other questions about the same document, solved, before the question."""

    ways: ClassVar[tuple[str, ...]] = (_AFTER,)
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
        told = rephrase.few_shot(row, others, max(1, (len(others) + 1) // 2)) if others else ""
        return [replace(PromptVariant(_AFTER, told, row.output, row.kind), turns=row.turns)] if told else []


_BEGUN = ("agreed to", "named as the answer", "with the question's own words")


@dataclass(frozen=True)
class Prefilled(AskedInWays):
    """Three beginnings of an answer from which the model goes on; none holds a word of the answer."""

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
        begun = zip(_BEGUN, rephrase.beginnings(row.input), strict=True)
        return [PromptVariant(way, row.input, row.output, begun=text, turns=row.turns) for way, text in begun if text]
