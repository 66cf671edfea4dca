"""From rows to records (see `row_forms` for what a row asks and answers, `texts` for its columns)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, get_args

from unlearn_core.data.rows.lume import are_lume, read_id
from unlearn_core.data.rows.mapped import kept
from unlearn_core.data.rows.reader import Row
from unlearn_core.data.rows.row_forms import num_words, read_forms
from unlearn_core.data.rows.texts import COLUMNS, check_text, column_of, kind_of, text_in
from unlearn_core.data.types import TASKS, Example, Kind
from unlearn_core.errors import InputError

COMPLETION_WORDS = 6  # a set whose median answer is longer is scored by ROUGE-L, not by exact match


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise InputError unless `columns` maps known fields to column names."""
    for field, column in columns.items():
        if field not in COLUMNS:
            raise InputError("columns", field, "is not a field", f"Use one of {', '.join(COLUMNS)}.")
        if not isinstance(column, str) or not column:
            raise InputError("columns", column, f"is not the name of a column for {field}", "Name one.")


def usual_kinds(sets: Mapping[str, Sequence[Row]], columns: Mapping[str, str]) -> dict[str, Kind]:
    """What the rows of each set are that do not say it themselves: completions where the median answer has more
    than six words, and questions otherwise. Sets of the same columns are judged as one, so that a data set's
    rows are not one thing in one split and another in the next."""
    words: dict[frozenset[str], list[float]] = {}
    columns_of = {}
    for name, rows in sets.items():
        forms = [form for row in rows for form in read_forms(row, name, columns)]
        columns_of[name] = frozenset[str]().union(*(form.used for form in forms))
        words.setdefault(columns_of[name], []).extend(num_words(form.output) for form in forms)
    return {
        name: "completion" if median(words[used] or [0]) > COMPLETION_WORDS else "question"
        for name, used in columns_of.items()
    }


def examples(
    rows: Sequence[Row],
    prefix: str,
    columns: Mapping[str, str],
    usual: Kind | None = None,
) -> Sequence[Example]:
    """The rows as examples, in order; `prefix` starts the ids of rows that bring none.

    Where the ids say, in LUME's way, whether a row is a completion or a question, they are believed; else they
    are what is `usual` in their data set (see `usual_kinds`), or in `rows` where that is None.
    """
    kind: Kind | None = usual or usual_kinds({prefix: rows}, columns)[prefix]
    official = all(_is_task(row, columns) for row in rows)
    if are_lume((_identity(row, columns) or "" for row in rows), official):
        kind = None
    return kept(_examples(rows, prefix, columns, kind))


def asked_otherwise(rows: Sequence[Row], found: Sequence[Example]) -> tuple[Example, ...]:
    """The examples whose rows bring another wording of the question (`paraphrased_question`, TOFU's column), asked
    in it; `found` are what `examples` made of the rows."""
    if len(found) != len(rows):  # a document's passages
        return ()
    return tuple(
        replace(example, input=question, paraphrases=(), wrong=())
        for row, example in zip(rows, found, strict=True)
        if (question := optional_text(row, "paraphrased_question")).strip()
    )


def _examples(rows: Sequence[Row], prefix: str, columns: Mapping[str, str], kind: Kind | None) -> Iterator[Example]:
    seen: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        identity = _identity(row, columns) or f"{prefix}-{number}"
        if identity in seen:
            row.fail("id", identity, f"was used before, at {seen[identity]}", "Give every row its own id.")
        seen[identity] = row.where
        task = _task(row, columns)
        for form in read_forms(row, prefix, columns):
            if form.passage is not None:
                name = f"{identity}-{form.passage}"
                yield Example(name, form.input, form.output, task, kind="completion", document=identity)
                continue
            said = read_id(identity, official=True) if kind is None else None
            found, document, topic = said if said is not None else (kind or "question", "", "")
            labels = _labels(row) or {"kind": found, "document": document, "topic": topic} | _other(row)
            labels["paraphrases"] = (*labels.get("paraphrases", ()), *form.aliases)
            yield Example(identity, form.input, form.output, task, **({"turns": form.turns} | labels))


def _other(row: Row) -> dict[str, Any]:
    """The right answer in other words and the wrong ones that a row brings as TOFU does."""
    reworded = optional_text(row, "paraphrased_answer")
    return {"paraphrases": (reworded,) if reworded else (), "wrong": wrong_answers(row)}


def _labels(row: Row) -> dict[str, Any]:
    """How the row says it is to be read, where it does so in our own way: with a `kind` column."""
    kind = row.fields.get("kind")
    if kind not in get_args(Kind):
        return {}
    texts = {name: row.fields.get(name) for name in ("subject", "topic", "document")}
    lists = {name: row.fields.get(name) for name in ("paraphrases", "wrong")}
    found: dict[str, Any] = {name: check_text(row, name, value) for name, value in texts.items() if value}
    for name, values in lists.items():
        if isinstance(values, list):
            found[name] = tuple(check_text(row, name, value) for value in values)
    turns = row.fields.get("turns")
    if isinstance(turns, list) and all(isinstance(turn, list) and len(turn) == 2 for turn in turns):
        found["turns"] = tuple((check_text(row, "turns", a), check_text(row, "turns", b)) for a, b in turns)
    return {"kind": kind, **found}


def _identity(row: Row, columns: Mapping[str, str]) -> str | None:
    column = column_of(row, "id", columns)
    if column is None or row.fields[column] in (None, ""):
        return None
    value = row.fields[column]
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return check_text(row, column, value)


def _is_task(row: Row, columns: Mapping[str, str]) -> bool:
    column = column_of(row, "task", columns)
    return column is not None and row.fields[column] in TASKS


def _task(row: Row, columns: Mapping[str, str]) -> str:
    column = column_of(row, "task", columns)
    if column is None or row.fields[column] in (None, ""):
        return TASKS[0]
    task = row.fields[column]
    if task not in TASKS:
        shown = task if isinstance(task, str | int | float) else kind_of(task)
        row.fail(column, shown, "is not a task", f"Use one of {', '.join(TASKS)}, or leave the column out.")
    return str(task)


def optional_text(row: Row, column: str) -> str:
    """The text of a column, "" where the row has none."""
    return "" if row.fields.get(column) is None else text_in(row, column)


def wrong_answers(row: Row) -> tuple[str, ...]:
    """The wrong answers that a row brings as TOFU does, in `perturbed_answer`."""
    value = row.fields.get("perturbed_answer")
    if value is None:
        return ()
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        row.fail("perturbed_answer", value, "is no list of wrong answers", "Write a list of texts.")
    return tuple(check_text(row, "perturbed_answer", answer) for answer in value)
