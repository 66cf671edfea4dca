"""The subjects that a map shows: whom a run forgets and keeps, the neighbours, and whom the model has never seen.

Rows are grouped by whom they are about; a row about nobody is a subject of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_core.data.subjects import subject_of
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import clip
from unlearn_core.system.grouped import grouped

NEVER_SEEN = "holdout"
SPLITS = ("forget", "retain", "neighbours", NEVER_SEEN)
MAX_SUBJECTS = 60  # of a split, evenly spread over it
MAX_NAME = 80  # characters


@dataclass(frozen=True, slots=True)
class SubjectGroup:
    """One subject, the split it counts for, and its rows: questions alone where it has any."""

    name: str
    split: str
    rows: tuple[Example, ...]


def subject_groups(data: UnlearningData) -> tuple[SubjectGroup, ...]:
    """The subjects of each split in its order, at most MAX_SUBJECTS of them; one of several splits counts for the
    first in SPLITS, with its rows there."""
    taken: set[str] = set()
    groups: list[SubjectGroup] = []
    for split in SPLITS:
        named = ((clip(subject_of(row) or row.input, MAX_NAME), row) for row in getattr(data, split))
        rows_of = grouped((name, row) for name, row in named if name not in taken)
        taken.update(rows_of)
        for name in even_sample(list(rows_of), MAX_SUBJECTS):
            questions = [row for row in rows_of[name] if row.kind == "question"]
            groups.append(SubjectGroup(name, split, tuple(questions or rows_of[name])))
    return tuple(groups)
