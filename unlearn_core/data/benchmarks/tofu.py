"""What TOFU's files hold beside questions and answers (arXiv 2401.06121, Hub data set `locuslab/TOFU`).

    forgetXX_perturbed retain_perturbed   paraphrased_question, paraphrased_answer, perturbed_answer (5 wrong ones)
    real_authors_perturbed                question, answer, perturbed_answer (3)
    world_facts_perturbed                 the same
    holdoutXX                             question, answer: authors never trained on (open-unlearning)

Twenty rows in turn are about one author; the data does not name whom.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from unlearn_core.data.rows.reader import Limits, Row, rows_called
from unlearn_core.data.rows.texts import text
from unlearn_core.data.rows.validate import examples, optional_text, wrong_answers
from unlearn_core.data.types import Example, UnlearningData

PERTURBED = re.compile(r"(forget|retain)(\d{0,3})_perturbed", re.ASCII)
FACTS = ("real_authors", "world_facts")  # the evaluation sets of facts that no author of TOFU's is part of
ROWS_PER_AUTHOR = 20


def with_tofu(data: UnlearningData, files: Sequence[Path], limits: Limits, size: str) -> UnlearningData:
    """`data` with what TOFU's files say of its rows; unchanged where there are none.

    `size` is the number in `forgetXX`: only the perturbed and holdout files of that size are read.
    """
    known = {
        "forget": _reworded(rows_called(files, f"forget({size or '[0-9]{1,3}'})?_perturbed", limits)),
        "retain": _reworded(rows_called(files, "retain[0-9]{0,3}_perturbed", limits)),
    }
    if not any(known.values()):
        return data
    forget, retain = (
        _authors(tuple(_filled(row, known[split]) for row in rows))
        for split, rows in (("forget", data.forget), ("retain", data.retain))
    )
    reworded = [
        replace(row, input=question, paraphrases=(), wrong=())
        for split, rows in (("forget", forget), ("retain", retain))
        for row in rows
        if (question := known[split].get((row.input, row.output), ("", "", ()))[0])
    ]
    return replace(
        data,
        forget=forget,
        retain=retain,
        paraphrases=tuple(reworded),
        holdout=data.holdout or _questions(rows_called(files, f"holdout{size or '[0-9]{2}'}", limits), "holdout"),
        evaluation_sets={
            name: found
            for name in FACTS
            if (found := _questions(rows_called(files, f"{name}_perturbed", limits), name))
        },
    )


_Known = dict[tuple[str, str], tuple[str, str, tuple[str, ...]]]  # question, answer -> both reworded, and wrong answers


def _reworded(rows: Iterable[Row]) -> _Known:
    found: _Known = {}
    for row in rows:
        words = optional_text(row, "paraphrased_question"), optional_text(row, "paraphrased_answer")
        found[text(row, "input", {}), text(row, "output", {})] = *words, wrong_answers(row)
    return found


def _filled(row: Example, known: _Known) -> Example:
    """A row as a question, with its answer in other words and its wrong answers where the data has them."""
    _, answer, wrong = known.get((row.input, row.output), ("", "", ()))
    return replace(row, kind="question", paraphrases=(answer,) if answer else (), wrong=wrong)


def _authors(rows: tuple[Example, ...]) -> tuple[Example, ...]:
    if len(rows) % ROWS_PER_AUTHOR:
        return rows
    return tuple(
        replace(row, document=row.document or f"author {1 + i // ROWS_PER_AUTHOR} of this set")
        for i, row in enumerate(rows)
    )


def _questions(rows: Sequence[Row], name: str) -> tuple[Example, ...]:
    return tuple(replace(row, kind="question") for row in examples(rows, name, {}))
