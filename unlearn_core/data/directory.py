"""A directory of data in the organisers' layout, as LUME, the SemEval task and TOFU ship it.

    forget.jsonl retain.jsonl             or forget_train-00000-of-00001.parquet, forget05.json, ...
    mia/member.jsonl mia/nonmember.jsonl  documents for membership inference, field `document`
    holdout.jsonl general.jsonl           rows never trained on, and trained rows of any other kind (ours)

Files that hold a `split` column naming both sets are taken apart by it. Where there are train and
validation files, the train files are read. TOFU's perturbed files give unseen phrasings and
four-option questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

from unlearn_core.data.reader import LOCAL, SUFFIXES, Limits, Row, read_rows
from unlearn_core.data.types import Example, Question, UnlearningData
from unlearn_core.data.validate import column_of, documents, examples, text
from unlearn_core.errors import InputError, clip

_SETS = re.compile(r"(forget|retain)(\d{0,3})(?:[_-](?!perturbed)[\w.-]*)?", re.ASCII)
_DOCUMENTS = re.compile(r"(member|nonmember)(?:-\d+-of-\d+)?", re.ASCII)
_MAX_FILES = 1_000


def read_directory(
    folder: Path, columns: Mapping[str, str], limits: Limits = LOCAL, part: str = "", needed: str = "forget"
) -> UnlearningData:
    """The data in `folder`; `part` (such as "forget05") chooses among several forget sets.

    InputError where the `needed` set ("forget" or "retain") is not there.
    """
    files = _files(folder)
    sets = {split: _choose(split, files, folder, part) for split in ("forget", "retain")}
    rows: dict[str, list[Row]] = {"forget": [], "retain": []}
    if sets[needed]:
        for split, paths in sets.items():
            for path in paths:
                rows[split] += tidy(path, read_rows(path, limits), split, columns)[split]
    else:
        rows = _by_split_column(files, columns, limits)
    if not rows[needed]:
        names = clip(", ".join(path.name for path in files) or "nothing that can be read", 100)
        raise InputError("data", str(folder), f"has no {needed} set (found {names})", f"Add {needed}.jsonl.")
    for split in rows:
        if len(rows[split]) > limits.max_rows:
            raise InputError("data", str(folder), f"has too many {split} rows", f"Use {limits.max_rows}.")
    forget = examples(rows["forget"], "forget", columns, limits) if rows["forget"] else ()
    retain = examples(rows["retain"], "retain", columns, limits) if rows["retain"] else ()
    questions = _tofu_questions(files, limits)
    return UnlearningData(
        name=folder.name,
        forget=forget,
        retain=retain,
        members=_documents(files, "member", columns, limits),
        nonmembers=_documents(files, "nonmember", columns, limits),
        paraphrases=_tofu_paraphrases(files, chain(forget, retain), limits),
        holdout=_extra(files, "holdout", columns, limits),
        general=_extra(files, "general", columns, limits),
        questions=questions,
        question_form="likelihood" if questions else "letter",
    )


def read_documents(folder: Path, limits: Limits = LOCAL) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Members and nonmembers from a directory that holds a file of each; InputError where one is missing."""
    files = _files(folder)
    sides = [_documents(files, stem, {}, limits) for stem in ("member", "nonmember")]
    for stem, found in zip(("member", "nonmember"), sides, strict=True):
        if not found:
            raise InputError("mia", str(folder), f"holds no {stem} file", f"Add {stem}.jsonl.")
    return sides[0], sides[1]


def first_file(folder: Path) -> Path:
    """The file whose columns speak for the folder: its first forget file, or its first file of rows."""
    files = _files(folder)
    if not files:
        raise InputError("data", str(folder), "holds no file of rows", "Add forget.jsonl.")
    named = [path for path in files if (match := _SETS.fullmatch(path.stem)) and match[1] == "forget"]
    return (named or files)[0]


def tidy(path: Path, rows: list[Row], split: str, columns: Mapping[str, str]) -> dict[str, list[Row]]:
    """Rows by the set they belong to: as their `split` column says where it names one, else `split`."""
    sets: dict[str, list[Row]] = {"forget": [], "retain": []}
    for row in rows:
        column = column_of(row, "split", columns)
        said = str(row.fields[column]).lower() if column is not None else ""
        named = [name for name in sets if said.startswith(name)]
        sets[named[0] if named else split].append(row)
    kept = _SETS.fullmatch(path.stem)
    other = "retain" if split == "forget" else "forget"
    if kept and sets[other]:
        row = sets[other][0]
        row.fail("split", other, f"stands in a file of {split} rows", f"Move it to a {other} file.")
    return sets


def _files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            found.append(path)
        if len(found) > _MAX_FILES:
            raise InputError("data", str(folder), f"holds over {_MAX_FILES} files", "Name the data folder.")
    return found


def _choose(split: str, files: Iterable[Path], folder: Path, part: str) -> list[Path]:
    """The files of one set. TOFU has several sizes side by side: forget05 goes with retain95."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        match = _SETS.fullmatch(path.stem)
        if match and match[1] == split:
            groups.setdefault(match[2], []).append(path)
    if part and groups:
        digits = part.removeprefix("forget")
        wanted = digits if split == "forget" or not digits else f"{100 - int(digits):02d}"
        if not part.startswith("forget") or wanted not in groups:
            choices = ", ".join(f"{split}{size}" for size in groups)
            raise InputError("data", part, "is not a forget set of this data", f"There is: {choices}.")
        return groups[wanted]
    if len(groups) > 1:
        choices = ", ".join(path.name for paths in groups.values() for path in paths)
        problem = f"has several {split} sets ({clip(choices, 80)})"
        mend = "Name the forget file as data and the other as retain data (on the Hub: owner/name:forget05)."
        raise InputError("data", str(folder), problem, mend)
    chosen = next(iter(groups.values()), [])
    train = [path for path in chosen if "train" in path.stem]
    return train or chosen


def _by_split_column(
    files: Iterable[Path], columns: Mapping[str, str], limits: Limits
) -> dict[str, list[Row]]:
    sets: dict[str, list[Row]] = {"forget": [], "retain": []}
    for path in files:
        if path.stem in ("holdout", "general") or _DOCUMENTS.fullmatch(path.stem):
            continue
        for row in read_rows(path, limits):
            column = column_of(row, "split", columns)
            said = str(row.fields[column]).lower() if column is not None else ""
            for split, rows in sets.items():
                if said.startswith(split):
                    rows.append(row)
    return sets


def _extra(files: Iterable[Path], stem: str, columns: Mapping[str, str], limits: Limits) -> Sequence[Example]:
    rows = [row for path in files if path.stem == stem for row in read_rows(path, limits)]
    return examples(rows, stem, columns, limits) if rows else ()


def _documents(
    files: Iterable[Path], stem: str, columns: Mapping[str, str], limits: Limits
) -> tuple[str, ...]:
    found: list[str] = []
    for path in files:
        match = _DOCUMENTS.fullmatch(path.stem)
        if match and match[1] == stem:
            found += documents(read_rows(path, limits), columns, limits)
    return tuple(found)


def _tofu_paraphrases(files: Iterable[Path], rows: Iterable[Example], limits: Limits) -> tuple[Example, ...]:
    """TOFU's reworded questions, under the id of the row they ask about."""
    by_question = {row.input: row for row in rows}
    found: dict[str, Example] = {}
    for path in files:
        if not re.fullmatch(r"(forget|retain)\d*_perturbed", path.stem):
            continue
        for record in read_rows(path, limits):
            row = by_question.get(str(record.fields.get("question")))
            if row is not None and "paraphrased_question" in record.fields:
                reworded = text(record, "input", {"input": "paraphrased_question"}, limits)
                found[row.id] = Example(row.id, reworded, row.output, row.task)
    return tuple(found.values())


def _tofu_questions(files: Iterable[Path], limits: Limits) -> tuple[Question, ...]:
    """Four-option questions from TOFU's real authors and world facts: the answer among three wrong ones.

    The place of the right option rotates, so that always naming one place scores a quarter.
    """
    found: list[Question] = []
    for path in files:
        if path.stem not in ("real_authors_perturbed", "world_facts_perturbed"):
            continue
        for record in read_rows(path, limits):
            question = text(record, "input", {"input": "question"}, limits)
            wrong = record.fields.get("perturbed_answer")
            if not (isinstance(wrong, list) and len(wrong) == 3 and all(isinstance(w, str) for w in wrong)):
                continue
            place = len(found) % 4
            options = [*wrong[:place], text(record, "output", {"output": "answer"}, limits), *wrong[place:]]
            a, b, c, d = options
            subject = path.stem.removesuffix("_perturbed")
            found.append(Question(f"{subject}-{len(found)}", question, (a, b, c, d), place, subject))
    return tuple(found)
