"""Neighbours where nobody gave any: the forget set's own questions, asked about others that the model knows.

    question with another name in it --> the model's answer --> kept where it gives it again to another wording,
    and far more readily than about nobody

What is kept is the model's own answer, right or wrong: that it stays is all that is asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.data.subject_sheet import MADE_UP
from unlearn_core.data.subjects import subject_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.metrics.answer_probability import answer_log_probabilities
from unlearn_core.evaluation.metrics.contained import contains
from unlearn_core.evaluation.rephrase import new_phrasings
from unlearn_core.knowledge.find import SURE, TIMES_AS_SURE
from unlearn_core.knowledge.listed import listed_subjects
from unlearn_core.models.generation.generate import generate_all

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FEWEST = 6  # neighbours, below which there is nothing to hold the model by
NUM_CANDIDATES = 240  # questions that are tried
MAX_TEMPLATES = 12
ANSWER_TOKENS = 24
ANSWER_WORDS = 8  # a longer answer goes on about something else


def made_neighbours(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: UnlearningData,
    names: Sequence[str] | None = None,
) -> tuple[Example, ...]:
    """Questions of the forget set about `names` (the listed subjects where None) that the model answers alike
    in two wordings, surely, and not about anybody; none where there are fewer than FEWEST."""
    named = [(row, subject_of(row)) for row in data.forget if row.kind == "question"]
    asked = [(row, name) for row, name in named if name and name in row.input][:MAX_TEMPLATES]
    taken = {name.casefold() for _, name in named}
    listed = (subject.name for subject in listed_subjects())
    pool = [name for name in names or listed if name.casefold() not in taken]
    rows = [
        replace(row, id=f"made-{number}-{place}", input=row.input.replace(own, name), subject=name, document=name)
        for number, name in enumerate(pool)
        for place, (row, own) in enumerate(asked)
    ]
    rows = rows[:NUM_CANDIDATES]
    if not rows:
        return ()
    said = generate_all(model, tokenizer, [row.input for row in rows], ANSWER_TOKENS)
    rows = [replace(row, output=_first(text), paraphrases=(), wrong=()) for row, text in zip(rows, said, strict=True)]
    rows = [row for row in rows if row.output and not contains(row.input, row.output)]
    again = generate_all(model, tokenizer, [new_phrasings(row.input)[0] for row in rows], ANSWER_TOKENS)
    rows = [row for row, text in zip(rows, again, strict=True) if contains(text, row.output)]
    kept = _of_the_subject(model, tokenizer, rows)
    return tuple(kept) if len(kept) >= FEWEST else ()


def _first(text: str) -> str:
    """The answer without what the model writes after it."""
    line = text.strip().split("\n")[0]
    sentence = line.split(". ")[0].strip(" .,;:")
    return sentence if len(sentence.split()) <= ANSWER_WORDS else ""


def _of_the_subject(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Example]
) -> list[Example]:
    """Those of whose answer the model is sure, and surer than with a made-up name in the subject's place."""
    nobody = [replace(row, input=row.input.replace(row.subject, other)) for row in rows for other in MADE_UP["person"]]
    values = answer_log_probabilities(model, tokenizer, [*rows, *nobody])
    own, others, per_row = values[: len(rows)], values[len(rows) :], len(MADE_UP["person"])
    highest = [max(others[at * per_row : (at + 1) * per_row], default=-math.inf) for at in range(len(rows))]
    least = math.log(TIMES_AS_SURE)
    return [
        row
        for row, sure, chance in zip(rows, own, highest, strict=True)
        if sure >= math.log(SURE) and sure >= chance + least
    ]
