"""Reading MMLU: a directory of CSV files (the original's, without a header, or with one), or the Hub.

Cells are kept as written; the original script reads them through pandas, which would print 0.10 as 0.1
where a whole column is numeric.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unlearn_core.data.types import Question
from unlearn_core.errors import InputError, ResourceError
from unlearn_core.system.hub import HUB_ID

NUM_SHOTS = 5
_HEADER = ("question", "choice0", "choice1", "choice2", "choice3", "answer")
_ANSWERS = {"A": 0, "B": 1, "C": 2, "D": 3, "0": 0, "1": 1, "2": 2, "3": 3}
_MEND = "Give a directory with dev/ and test/ (SUBJECT_dev.csv, SUBJECT_test.csv), or a Hub id like cais/mmlu."


def load_mmlu(ref: str) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """The solved examples (five per subject, from `dev`) and the questions (from `test`) that `ref` names."""
    folder = Path(ref).expanduser()
    if folder.is_dir():
        return read_directory(folder)
    if ref.startswith(("/", ".", "~")) or "://" in ref or ".." in ref or not HUB_ID.fullmatch(ref):
        raise InputError("mmlu", ref, "is not a directory", _MEND)
    return _from_hub(ref)


def read_directory(folder: Path) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Solved examples and questions from CSV files in `folder`, `folder/data`, or their dev/ and test/."""
    parts = {part: _files(folder, part) for part in ("dev", "test")}
    if not parts["test"]:
        raise InputError("mmlu", str(folder), "holds no *_test.csv", _MEND)
    few_shot = [q for path in parts["dev"] for q in read_csv(path, "dev")[:NUM_SHOTS]]
    questions = [q for path in parts["test"] for q in read_csv(path, "test")]
    return tuple(few_shot), tuple(questions)


def read_csv(path: Path, part: str) -> list[Question]:
    """One subject's questions; the answer is a letter or an index, a header line is recognised."""
    subject = path.name.removesuffix(f"_{part}.csv")
    questions: list[Question] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, cells in enumerate(csv.reader(file), start=1):
                if not cells or (number == 1 and tuple(cells) == _HEADER):
                    continue
                questions.append(_question(f"{subject}-{part}-{number}", subject, cells, path, number))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("mmlu", path.name, f"cannot be read ({error})", _MEND) from error
    return questions


def _question(id: str, subject: str, cells: list[str], path: Path, number: int) -> Question:
    if len(cells) != len(_HEADER) or cells[-1].strip().upper() not in _ANSWERS:
        raise InputError(
            f"mmlu, {path.name} record {number}",
            ",".join(cells),
            "is not a question, four options and an answer",
            "Write the answer as A to D or 0 to 3.",
        )
    text, a, b, c, d, answer = cells
    return Question(id, text, (a, b, c, d), _ANSWERS[answer.strip().upper()], subject)


def _files(folder: Path, part: str) -> list[Path]:
    for place in (folder / part, folder / "data" / part, folder):
        found = sorted(place.glob(f"*_{part}.csv"))
        if found:
            return found
    return []


def _from_hub(ref: str) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    from datasets import load_dataset

    repo, _, revision = ref.partition("@")
    try:
        parts = load_dataset(repo, "all", revision=revision or None)
    except (ValueError, FileNotFoundError) as error:
        raise InputError("mmlu", ref, f"is not MMLU on the Hub ({error})", _MEND) from error
    except (OSError, RuntimeError) as error:
        raise ResourceError("mmlu", ref, "cannot be fetched from the Hub", "Name a local directory.") from error
    missing = {"dev", "test"} - set(parts)
    if missing:
        raise InputError("mmlu", ref, f"has no split {', '.join(sorted(missing))}", _MEND)
    taken: dict[str, int] = {}
    few_shot = []
    for question in _hub_questions(parts["dev"], "dev", ref):
        taken[question.subject] = taken.get(question.subject, 0) + 1
        if taken[question.subject] <= NUM_SHOTS:
            few_shot.append(question)
    return tuple(few_shot), tuple(_hub_questions(parts["test"], "test", ref))


def _hub_questions(rows: Iterable[dict[str, Any]], part: str, ref: str) -> list[Question]:
    try:
        return [
            Question(
                f"{row['subject']}-{part}-{i}",
                row["question"],
                _four(row["choices"]),
                int(row["answer"]),
                row["subject"],
            )
            for i, row in enumerate(rows)
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("mmlu", ref, f"has rows of another form ({error})", _MEND) from error


def _four(choices: list[str]) -> tuple[str, str, str, str]:
    a, b, c, d = choices
    return a, b, c, d
