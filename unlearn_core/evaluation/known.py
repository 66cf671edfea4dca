"""Whether a model's answer to a row, before anything is scored, tells it."""

from __future__ import annotations

from unlearn_core.data.types import Example
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import Generation
from unlearn_core.evaluation.verdict.rows import is_told


def tells(row: Example, text: str) -> bool:
    """Whether `text`, a model's answer to the row, tells its gold answer, as the verdict reads it."""
    score = semeval.text_score(row.kind, row.output, text)
    found = Generation(
        row.id, "forget", row.task, row.kind, row.input, row.output, text, score, aliases=row.paraphrases
    )
    return is_told(found)
