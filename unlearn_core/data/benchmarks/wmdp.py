"""WMDP's questions (arXiv 2403.03218; Hub data set `cais/wmdp`): question, four choices, index of the answer.

wmdp-bio/test...  wmdp-chem/...  wmdp-cyber/...      or wmdp_bio.jsonl beside one another
"""

from __future__ import annotations

import re
from pathlib import Path

from unlearn_core.data.rows.reader import SUFFIXES, Row, read_rows
from unlearn_core.data.rows.texts import check_text, text_in
from unlearn_core.data.types import Question, UnlearningData
from unlearn_core.errors import InputError

SUBJECTS = ("bio", "chem", "cyber")
_NAMED = re.compile(r"wmdp[-_](bio|chem|cyber)", re.IGNORECASE)


def read_wmdp(folder: Path) -> UnlearningData:
    """The questions in a folder, by the subject that its name, or the name of their file, says."""
    questions: list[Question] = []
    for path in sorted(folder.rglob("*")):
        subjects = _NAMED.findall(str(path.relative_to(folder.parent)))
        if subjects and path.is_file() and path.suffix.lower() in SUFFIXES:
            subject = subjects[-1].lower()
            questions += [_question(row, subject, number) for number, row in enumerate(read_rows(path))]
    if not questions:
        mend = "Name a folder with wmdp-bio, wmdp-chem or wmdp-cyber, as cais/wmdp has them."
        raise InputError("data", folder.name, "holds no file of WMDP's questions", mend)
    return UnlearningData(name=folder.name, forget=(), questions=tuple(questions))


def _question(row: Row, subject: str, number: int) -> Question:
    choices, answer = row.fields.get("choices"), row.fields.get("answer")
    if not isinstance(choices, list) or len(choices) != 4:
        row.fail("choices", choices, "is not a list of four options", "Write four texts.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < 4:
        row.fail("answer", answer, "is not the number of an option", "Write 0 to 3.")
    a, b, c, d = (check_text(row, "choices", choice) for choice in choices)
    return Question(f"{subject}-{number}", text_in(row, "question"), (a, b, c, d), answer, subject)
