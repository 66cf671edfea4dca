"""Asked in other ways: unseen phrasing, reversed, prefix fed, few-shot, misspelt, other languages."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import Case
from unlearn_core.evaluation.audits.judge import Comparison, exceeds
from unlearn_core.evaluation.audits.measure import controls_in_words, recall, share
from unlearn_core.evaluation.beyond import even_sample
from unlearn_core.evaluation.rephrase import WAYS, Asked, asked_all_ways, with_preambles
from unlearn_core.models.generate import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TALKED_INTO = "talked into it"
ALL_WAYS = (*WAYS, _TALKED_INTO)
_PROMPTS_PER_ROW = 16  # about
_NUM_SHOTS = 12  # retained rows that few-shot prompts draw from


@dataclass(frozen=True)
class Rephrasing(Audit):
    """The greedy answer to every wording; a row counts when any of them brings its answer."""

    max_rows: int = 60

    info: ClassVar[AuditInfo] = AuditInfo(
        name="paraphrase",
        title="Asked in other ways",
        idea="Forgotten questions are asked in ten ways: in a new phrasing, reversed, misspelt, in other "
        "languages, after solved examples, with the answer fed word by word. A row leaks when any of them "
        "brings its answer out.",
        source="RWKU, level 3 (arXiv 2406.10890); Patil et al. (arXiv 2309.17410); Lynch et al. (2402.16835)",
        needs=frozenset({"controls"}),
    )

    def cost(self, case: Case) -> float:
        rows = min(self.max_rows, len(case.forget))
        return case.num_models * case.asking(_PROMPTS_PER_ROW * rows, 1.5)

    def work(self, case: Case) -> Work:
        forget, holdout = (even_sample(rows, self.max_rows) for rows in (case.forget, case.holdout))
        heard = {"forget": (yield from _heard(case, case.model, forget))}
        heard["holdout"] = yield from _heard(case, case.model, holdout)
        if case.retain_only is not None:
            heard["retain_only"] = yield from _heard(case, case.retain_only, forget)
        return _finding(case, heard)


@dataclass(frozen=True)
class _Heard:
    """Scores (ways, rows), 0 where a wording could not be made, and the most telling answer per way."""

    scores: np.ndarray
    shown: dict[str, dict[str, Any]]


def wordings(case: Case, row: Example) -> list[Asked]:
    """Every wording of `row`, by ALL_WAYS."""
    unseen = [other.input for other in case.data.paraphrases if other.id == row.id]
    alike = [other for other in case.data.retain if (other.task, other.kind) == (row.task, row.kind)]
    asked = asked_all_ways(row, unseen=unseen, shots=even_sample(alike, _NUM_SHOTS))
    if row.kind == "question":
        asked += [Asked(_TALKED_INTO, text, row.output) for text in with_preambles(row.input)]
    return asked


def _heard(case: Case, model: PreTrainedModel, rows: Sequence[Example]) -> Generator[float, None, _Heard]:
    asked = [(place, wording) for place, row in enumerate(rows) for wording in wordings(case, row)]
    scores = np.zeros((len(ALL_WAYS), len(rows)))
    shown: dict[str, dict[str, Any]] = {}
    prompts = [wording.prompt for _, wording in asked]
    for batch in generate(model, case.tokenizer, prompts, case.answer_limit):
        for index, text in zip(batch.indices, batch.texts, strict=True):
            place, wording = asked[index]
            score = recall(wording.kind, wording.answer, text)
            at = ALL_WAYS.index(wording.way)
            scores[at, place] = max(scores[at, place], score)
            if score >= shown.get(wording.way, {}).get("score", 0.0):
                shown[wording.way] = {
                    "prompt": wording.prompt[-300:], "answer": wording.answer, "said": text.strip()[:300],
                    "score": round(score, 3),
                }  # fmt: skip
        yield case.asking(len(batch.indices), 1.5)
    return _Heard(scores, shown)


def _finding(case: Case, heard: dict[str, _Heard]) -> Finding:
    ours = heard["forget"].scores
    controls = {name: found.scores for name, found in heard.items() if name != "forget"}
    any_way = Comparison(ours.max(0), {name: scores.max(0) for name, scores in controls.items()})
    figures = {**any_way.figures, "before": float(ours[0].mean())}
    rows: list[dict[str, Any]] = []
    for at, way in enumerate(ALL_WAYS):
        means = {name: round(float(found.scores[at].mean()), 4) for name, found in heard.items()}
        leaks = all(exceeds(ours[at], scores[at]) for scores in controls.values())
        rows.append({"way": way, **means, "leaks": leaks, **heard["forget"].shown.get(way, {})})
    headline = (
        f"{share(figures['forget'])} of the forgotten answers come out in at least one of {len(ALL_WAYS)} "
        f"ways of asking ({share(figures['before'])} asked as trained); {controls_in_words(case, any_way)}."
    )
    if leaking := [row["way"] for row in rows if row["leaks"]]:
        headline += f" Ways that leak: {', '.join(leaking)}."
    return Finding(any_way.leaks or bool(leaking), headline, figures, tuple(rows))
