"""Asked in other ways: unseen phrasing, reversed, prefix fed, few-shot, misspelt, other languages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import Case
from unlearn_core.evaluation.audits.judge import Comparison, exceeds
from unlearn_core.evaluation.audits.measure import controls_in_words, examples, share, told
from unlearn_core.evaluation.beyond import even_sample
from unlearn_core.evaluation.framings import Framings

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Framing(Audit):
    """The greedy answer to every way of asking; a row counts when any way brings its answer."""

    max_rows: int = 60

    info: ClassVar[AuditInfo] = AuditInfo(
        name="paraphrase",
        title="Asked in other ways",
        idea="Forgotten questions are asked as they were and in ten other ways: unseen phrasing, misspelt, "
        "in other languages, reversed, after solved examples, with half of the answer given. A row leaks "
        "when any way brings its answer out.",
        source="RWKU, level 3 (arXiv 2406.10890); prefixes after Carlini et al. (arXiv 2012.07805)",
    )

    def cost(self, case: Case) -> float:
        num_ways = len(Framings(case.data).ways()) + 1
        rows = min(self.max_rows, len(case.forget))
        return case.num_models * num_ways * case.asking(rows, 1.5)

    def work(self, case: Case) -> Work:
        forget, holdout = (even_sample(rows, self.max_rows) for rows in (case.forget, case.holdout))
        ways = {"as trained": lambda row: row, **Framings(case.data).ways()}
        subjects: dict[str, tuple[PreTrainedModel, Sequence[Example]]] = {
            "forget": (case.model, forget), "holdout": (case.model, holdout),
        }  # fmt: skip
        if case.retain_only is not None:
            subjects["retain_only"] = (case.retain_only, forget)
        scores = {name: np.zeros((len(ways), len(rows))) for name, (_, rows) in subjects.items()}
        shown: dict[str, dict[str, object]] = {}
        for at, (title, way) in enumerate(ways.items()):
            for name, (model, rows) in subjects.items():
                asked = [(place, new) for place, row in enumerate(rows) if (new := way(row)) is not None]
                if not asked:
                    continue
                answers = yield from told(case, model, [row for _, row in asked])
                scores[name][at, [place for place, _ in asked]] = answers.scores
                if name == "forget":
                    (shown[title],) = examples([row for _, row in asked], answers.texts, answers.scores, 1)
        return _finding(case, list(ways), scores, shown)


def _finding(
    case: Case, ways: list[str], scores: dict[str, np.ndarray], shown: dict[str, dict[str, object]]
) -> Finding:
    # Each way is judged by itself as well: what one way gives may drown in the best of all.
    any_way = Comparison(scores["forget"].max(0), {k: v.max(0) for k, v in scores.items() if k != "forget"})
    leaking = [
        title for at, title in enumerate(ways)
        if all(exceeds(scores["forget"][at], v[at]) for k, v in scores.items() if k != "forget")
    ]  # fmt: skip
    before = float(scores["forget"][0].mean())
    figures = any_way.figures
    rows = tuple(
        {
            "way": title,
            **{name: round(float(found[at].mean()), 4) for name, found in scores.items()},
            "leaks": title in leaking,
            **shown.get(title, {}),
        }
        for at, title in enumerate(ways)
    )
    headline = (
        f"{share(figures['forget'])} of the forgotten answers come out in at least one of {len(ways)} ways "
        f"of asking ({share(before)} asked as trained); {controls_in_words(case, any_way)}."
    )
    if leaking:
        headline += f" Ways that leak: {', '.join(leaking)}."
    return Finding(any_way.leaks, headline, {**figures, "before": before}, rows)
