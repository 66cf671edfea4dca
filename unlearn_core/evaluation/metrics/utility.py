"""Utility: what four-option questions say of a model, and whether they say anything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unlearn_core.data.types import Question
from unlearn_core.evaluation.metrics.membership import wilson_interval
from unlearn_core.evaluation.protocols.multiple_choice.mmlu_subjects import grouped_accuracy
from unlearn_core.system.grouped import grouped

LETTERS = "ABCD"
CHANCE = 0.25


@dataclass(frozen=True, slots=True)
class Utility:
    """Accuracy on four-option questions, 0..1, None where none were asked.

    `one_letter` is what always giving the most frequent right letter scores. `signal` is False where the 95 %
    interval of the accuracy reaches down to chance, or, for letters, to that.
    """

    accuracy: float | None = None
    num_questions: int = 0
    form: str = "unknown"  # letter | likelihood; unknown where only the accuracy is
    interval: tuple[float, float] | None = None
    chance: float = CHANCE
    chance_interval: tuple[float, float] | None = None
    one_letter: float = CHANCE
    signal: bool = False
    letters: Mapping[str, int] = field(default_factory=dict)  # how often each was answered
    answer_key: Mapping[str, int] = field(default_factory=dict)  # and how often it would have been right
    metrics: Mapping[str, Any] = field(default_factory=dict)  # accuracies by MMLU's categories
    hits: Mapping[str, Sequence[bool]] = field(default_factory=dict)  # which questions were answered, by kind
    by_subject: Mapping[str, float] = field(default_factory=dict)


def utility(questions: Sequence[Question], choices: Sequence[int], form: str = "letter") -> Utility:
    """Accuracy (micro average), per subject, the answers' histogram, intervals, and whether it says anything."""
    right = [question.answer == choice for question, choice in zip(questions, choices, strict=True)]
    subjects = [question.subject for question in questions]
    by_subject = grouped(zip(subjects, right, strict=True))
    interval = wilson_interval(sum(right), len(right))
    counts = Counter(choices)
    keys = Counter(question.answer for question in questions)
    one_letter = max(keys.values()) / len(right) if form == "letter" and right else CHANCE
    return Utility(
        accuracy=sum(right) / len(right) if right else None,
        num_questions=len(right),
        form=form,
        interval=interval,
        chance_interval=wilson_interval(round(CHANCE * len(right)), len(right)),
        one_letter=one_letter,
        signal=interval is not None and interval[0] > max(CHANCE, one_letter),
        letters={letter: counts.get(i, 0) for i, letter in enumerate(LETTERS)},
        answer_key={letter: keys.get(i, 0) for i, letter in enumerate(LETTERS)},
        metrics=grouped_accuracy(by_subject),
        hits=_hits(questions, right),
        by_subject={subject: sum(hits) / len(hits) for subject, hits in sorted(by_subject.items())},
    )


def _hits(questions: Sequence[Question], right: Sequence[bool]) -> dict[str, list[bool]]:
    """Which questions were answered, by subject; those of one subject alone by all of their words but the last
    ("the capital of"), so that one sort of question that was lost is seen among the others."""
    alone = len({question.subject for question in questions}) == 1
    kinds = (" ".join(q.question.split()[:-1]) if alone else q.subject for q in questions)
    return grouped(zip(kinds, right, strict=True))
