"""A directory of data in the organisers' layout, as LUME, the SemEval task and TOFU ship it.

    forget.jsonl retain.jsonl             or forget_train-00000-of-00001.parquet, forget05.json, ...
    mia/member.jsonl mia/nonmember.jsonl  documents for membership inference, field `document`
    holdout.jsonl general.jsonl           rows never trained on, and trained rows of any other kind (ours)

Files that hold a `split` column naming both sets are taken apart by it. Where there are train and
validation files, the train files are read. What TOFU's files hold besides is in `tofu`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TypedDict

from unlearn_core.data.benchmarks.muse import is_muse, read_muse
from unlearn_core.data.benchmarks.rwku import is_rwku, read_rwku
from unlearn_core.data.benchmarks.tofu import FACTS, PERTURBED, with_tofu
from unlearn_core.data.rows.reader import LOCAL, SUFFIXES, Limits, Row, nearest, read_rows, rows_called, stem_of
from unlearn_core.data.rows.row_forms import as_known, unused_columns
from unlearn_core.data.rows.texts import column_of, text
from unlearn_core.data.rows.validate import asked_otherwise, examples, usual_kinds
from unlearn_core.data.types import Question, UnlearningData
from unlearn_core.errors import InputError, clip
from unlearn_core.system.grouped import grouped

_SETS = re.compile(r"(forget|retain)(\d{0,3})(?:[_-](?!perturbed)[\w.-]*)?", re.ASCII)
_FACTS = tuple(f"{name}_perturbed" for name in FACTS)
_MAX_FILES = 1_000
# What tools write beside data.
_NO_ROWS = frozenset(("dataset_infos", "dataset_info", "dataset_dict", "state", "config", "package", "metadata"))


def read_directory(folder: Path, columns: Mapping[str, str], limits: Limits, part: str, needed: str) -> UnlearningData:
    """The data in `folder`; `part` (such as "forget05") chooses among several forget sets.

    InputError where the `needed` set ("forget" or "retain") is not there.
    """
    files = _files(folder)
    if is_muse(files):
        return read_muse(folder, files, limits, part)
    if is_rwku(files):
        return read_rwku(folder, files, limits, part)
    sets = {split: _choose(split, files, folder, part) for split in ("forget", "retain")}
    notes = [*_left_out(files, sets, folder), *_joined(sets)]
    rows: dict[str, list[Row]] = {"forget": [], "retain": []}
    if sets[needed]:
        for split, paths in sets.items():
            for path in paths:
                rows[split] += tidy(path, read_rows(path, limits), split, columns)[split]
    else:
        rows, strays = _by_split_column(files, columns, limits)
        notes += strays
    if not rows[needed]:
        names = clip(", ".join(path.name for path in files) or "nothing that can be read", 100)
        raise InputError("data", str(folder), f"has no {needed} set (found {names})", f"Add {needed}.jsonl.")
    for split in rows:
        if len(rows[split]) > limits.max_rows:
            raise InputError("data", str(folder), f"has too many {split} rows", f"Use {limits.max_rows}.")
    for split in rows if needed == "forget" else (needed,):
        notes += unused_note(rows[split], split, columns)
    for stem in ("holdout", "general"):
        rows[stem] = [as_known(row, columns) for row in rows_called(files, stem, limits)]
    kinds = usual_kinds(rows, columns)
    found = {name: examples(own, name, columns, kinds[name]) for name, own in rows.items()}
    reworded = (asked_otherwise(rows[split], found[split]) for split in sets)
    data = UnlearningData(
        name=folder.name,
        forget=found["forget"],
        retain=found["retain"],
        holdout=found["holdout"],
        general=found["general"],
        paraphrases=tuple(chain.from_iterable(reworded)),
        **read_sides(files, columns, limits),
        notes=tuple(notes),
    )
    sizes = (
        match[2] for path in sets["forget"] for one in (_SETS, PERTURBED) if (match := one.fullmatch(stem_of(path)))
    )
    data = with_tofu(data, files, limits, next(sizes, ""))
    # Beside rows that are not TOFU's, its files of facts hold questions for the utility score.
    questions = () if data.evaluation_sets else _questions(files, limits)
    return replace(data, questions=questions, question_form="likelihood" if questions else "letter")


def read_documents(folder: Path) -> Documents:
    """Members and nonmembers from a directory that holds a file of each; InputError where one is missing."""
    found = read_sides(_files(folder), {}, LOCAL)
    for stem, documents_of in (("member", found["members"]), ("nonmember", found["nonmembers"])):
        if not documents_of:
            raise InputError("mia", str(folder), f"holds no {stem} file", f"Add {stem}.jsonl.")
    return found


class Documents(TypedDict):
    """The documents of membership inference and what their files call them, as UnlearningData has them."""

    members: tuple[str, ...]
    nonmembers: tuple[str, ...]
    member_ids: tuple[str, ...]
    nonmember_ids: tuple[str, ...]


def read_sides(files: Iterable[Path], columns: Mapping[str, str], limits: Limits) -> Documents:
    """The documents of both sides, with their ids."""
    (members, member_ids), (nonmembers, nonmember_ids) = (
        _documents(files, side, columns, limits) for side in ("member", "nonmember")
    )
    return Documents(members=members, nonmembers=nonmembers, member_ids=member_ids, nonmember_ids=nonmember_ids)


def first_file(folder: Path) -> Path:
    """The file whose columns speak for the folder: its first forget file, or its first file of rows."""
    files = _files(folder)
    if not files:
        raise InputError("data", str(folder), "holds no file of rows", "Add forget.jsonl.")
    named = [path for path in files if (match := _SETS.fullmatch(path.stem)) and match[1] == "forget"]
    return (named or files)[0]


def tidy(path: Path, rows: list[Row], split: str, columns: Mapping[str, str]) -> dict[str, list[Row]]:
    """Rows, in their known form, by the set they belong to: as their `split` column says where it names one, else
    `split`."""
    sets: dict[str, list[Row]] = {"forget": [], "retain": []}
    for row in (as_known(row, columns) for row in rows):
        sets[_said_split(row, columns) or split].append(row)
    other = "retain" if split == "forget" else "forget"
    if sets[other] and _SETS.fullmatch(path.stem):
        row = sets[other][0]
        row.fail("split", other, f"stands in a file of {split} rows", f"Move it to a {other} file.")
    return sets


def _said_split(row: Row, columns: Mapping[str, str]) -> str | None:
    """The set that the row's `split` column names, where it names one."""
    column = column_of(row, "split", columns)
    said = str(row.fields[column]).lower() if column is not None else ""
    return next((name for name in ("forget", "retain") if said.startswith(name)), None)


def _files(folder: Path) -> list[Path]:
    found = []
    for path in sorted(folder.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # what systems and editors keep for themselves
        if path.suffix.lower() in SUFFIXES and path.stem not in _NO_ROWS and path.is_file():
            found.append(path)
        if len(found) > _MAX_FILES:
            raise InputError("data", str(folder), f"holds over {_MAX_FILES} files", "Name the data folder.")
    return found


def _choose(split: str, files: Iterable[Path], folder: Path, part: str) -> list[Path]:
    """The files of one set. TOFU has several sizes side by side: forget05 goes with retain95."""
    groups = _by_size(files, _SETS, split)
    if not groups and split == "forget":  # the perturbed files hold the same rows, and more of each
        groups = _by_size(files, PERTURBED, split)
    if part and groups:
        digits = part.removeprefix("forget")
        wanted = digits if split == "forget" or not digits else f"{100 - int(digits):02d}"
        if not part.startswith("forget") or wanted not in groups:
            choices = ", ".join(f"{split}{size}" for size in groups)
            raise InputError("data", part, "is not a forget set of this data", f"There is: {choices}.")
        return _of_one_folder(groups[wanted], split)
    if len(groups) > 1:
        choices = ", ".join(path.name for paths in groups.values() for path in paths)
        problem = f"has several {split} sets ({clip(choices, 80)})"
        mend = "Name the forget file as data and the other as retain data (on the Hub: owner/name:forget05)."
        raise InputError("data", str(folder), problem, mend)
    return _of_one_folder(next(iter(groups.values()), []), split)


def _by_size(files: Iterable[Path], pattern: re.Pattern[str], split: str) -> dict[str, list[Path]]:
    named = ((pattern.fullmatch(stem_of(path)), path) for path in files)
    return grouped((match[2], path) for match, path in named if match and match[1] == split)


def _of_one_folder(chosen: Sequence[Path], split: str) -> list[Path]:
    """Of files that might all be one set: those nearest to the top, of them the one with the plain name, else
    those to train on."""
    near = nearest(chosen)
    plain = [path for path in near if re.fullmatch(rf"{split}\d*", path.stem)]
    if len(folders := {path.parent for path in plain}) > 1:
        first, second, *_ = sorted(path.name for path in folders)
        problem = f"holds a {split} set in several folders ({clip(first, 40)}, {clip(second, 40)})"
        raise InputError("data", plain[0].name, problem, "Name the folder that is meant as data.")
    train = [path for path in near if "train" in path.stem]
    return plain[:1] or train or near


def _left_out(files: Iterable[Path], sets: Mapping[str, Sequence[Path]], folder: Path) -> list[str]:
    """Files that are called like a set and are not read."""
    read = {path for paths in sets.values() for path in paths}
    others = [path for path in files if _SETS.fullmatch(path.stem) and path not in read]
    names = ", ".join(str(path.relative_to(folder)) for path in others)
    return [f"Not read, beside {_names(read)}: {clip(names, 100)}."] if others and read else []


def _joined(sets: Mapping[str, Sequence[Path]]) -> list[str]:
    """Sets of several files that are no shards of one."""
    several = {split: paths for split, paths in sets.items() if len({stem_of(path) for path in paths}) > 1}
    return [f"The {split} set is {len(paths)} files together: {_names(paths)}." for split, paths in several.items()]


def _names(paths: Iterable[Path]) -> str:
    return clip(", ".join(sorted(path.name for path in paths)), 80)


def unused_note(rows: Sequence[Row], split: str, columns: Mapping[str, str]) -> list[str]:
    """The columns of a set of which nothing is read, as a note; none where everything is."""
    names = unused_columns(rows, split, columns)
    return [f"Columns of the {split} set that are not used: {clip(', '.join(names), 100)}."] if names else []


def _by_split_column(
    files: Iterable[Path], columns: Mapping[str, str], limits: Limits
) -> tuple[dict[str, list[Row]], list[str]]:
    """The rows of both sets, and notes on files that hold something else than rows."""
    sets: dict[str, list[Row]] = {"forget": [], "retain": []}
    problems: list[InputError] = []
    for path in files:
        if stem_of(path) in ("holdout", "general", "member", "nonmember"):
            continue
        try:
            found = read_rows(path, limits)
        except InputError as error:
            if path.suffix.lower() != ".json":  # which programs use for much else
                raise
            problems.append(error)
            continue
        for row in (as_known(row, columns) for row in found):
            if split := _said_split(row, columns):
                sets[split].append(row)
    if problems and not any(sets.values()):
        raise problems[0]
    return sets, [f"Not read: {error}" for error in problems]


def _documents(
    files: Iterable[Path], stem: str, columns: Mapping[str, str], limits: Limits
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The documents of one side and their ids: the place of one that brings none."""
    rows = [as_known(row, columns) for row in rows_called(files, stem, limits)]
    ids = (row.fields.get(column_of(row, "id", columns) or "") for row in rows)
    named = tuple(str(place if value is None else value) for place, value in enumerate(ids))
    return tuple(text(row, "document", columns) for row in rows), named


def _questions(files: Iterable[Path], limits: Limits) -> tuple[Question, ...]:
    """Four-option questions from files in the form of TOFU's facts: the answer among three wrong ones.

    The place of the right option rotates, so that always naming one place scores a quarter.
    """
    found: list[Question] = []
    for path in files:
        subject = path.stem.removesuffix("_perturbed")
        for record in read_rows(path, limits) if path.stem in _FACTS else ():
            question = text(record, "input", {"input": "question"})
            wrong = record.fields.get("perturbed_answer")
            if isinstance(wrong, list) and len(wrong) == 3 and all(isinstance(w, str) for w in wrong):
                place = len(found) % 4
                options = [*wrong[:place], text(record, "output", {"output": "answer"}), *wrong[place:]]
                a, b, c, d = options
                found.append(Question(f"{subject}-{len(found)}", question, (a, b, c, d), place, subject))
    return tuple(found)
