"""From rows to records: which column is which field, and whether a text can be used.

Known columns: `input` (or question, prompt), `output` (or answer, completion, response), `id`, `task`,
`split`, `document`. A mapping of field to column overrules them, for files that name them otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from unlearn_core.data.mapped import kept
from unlearn_core.data.reader import LOCAL, Limits, Row
from unlearn_core.data.types import TASKS, Example
from unlearn_core.errors import InputError, clip

COLUMNS: dict[str, tuple[str, ...]] = {
    "input": ("input", "question", "prompt"),
    "output": ("output", "answer", "completion", "response"),
    "id": ("id",),
    "task": ("task",),
    "split": ("split",),
    "document": ("document", "text"),
}
COMPLETION_WORDS = 6  # a set whose median answer is longer is scored by ROUGE-L, not by exact match


def check_columns(columns: Mapping[str, str]) -> None:
    """Raise InputError unless `columns` maps known fields to column names."""
    for field, column in columns.items():
        if field not in COLUMNS:
            raise InputError("columns", field, "is not a field", f"Use one of {', '.join(COLUMNS)}.")
        if not isinstance(column, str) or not column:
            raise InputError("columns", column, f"is not the name of a column for {field}", "Name one.")


def examples(
    rows: Sequence[Row], prefix: str, columns: Mapping[str, str], limits: Limits = LOCAL
) -> Sequence[Example]:
    """The rows as examples, in order; `prefix` starts the ids of rows that bring none.

    An id that does not say, in LUME's way, whether its row is a completion or a question gets an ending
    that does: `sc0` where the set's median answer has more than six words, else `qa0`.
    """
    words = median(len(_pair(row, columns, limits)[1].split()) for row in rows)
    return kept(_examples(rows, prefix, columns, limits, "sc0" if words > COMPLETION_WORDS else "qa0"))


def _examples(
    rows: Sequence[Row], prefix: str, columns: Mapping[str, str], limits: Limits, ending: str
) -> Iterator[Example]:
    seen: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        prompt, answer = _pair(row, columns, limits)
        identity = _identity(row, columns, limits) or f"{prefix}-{number}"
        if identity in seen:
            row.fail("id", identity, f"was used before, at {seen[identity]}", "Give every row its own id.")
        seen[identity] = row.where
        if not identity[:-1].endswith(("sc", "qa")):
            identity = f"{identity}-{ending}"
        yield Example(identity, prompt, answer, _task(row, columns))


def _pair(row: Row, columns: Mapping[str, str], limits: Limits) -> tuple[str, str]:
    return text(row, "input", columns, limits), text(row, "output", columns, limits)


def documents(rows: Sequence[Row], columns: Mapping[str, str], limits: Limits = LOCAL) -> tuple[str, ...]:
    """Whole documents for membership inference."""
    return tuple(text(row, "document", columns, limits) for row in rows)


def text(row: Row, field: str, columns: Mapping[str, str], limits: Limits = LOCAL) -> str:
    """The text of a field, unchanged; InputError where it is missing, blank, too long or not text."""
    column = column_of(row, field, columns)
    if column is None:
        names = " or ".join(f"`{name}`" for name in COLUMNS[field])
        have = clip(", ".join(map(str, row.fields)) or "nothing", 80)
        row.fail(field, have, "is missing from these columns", f"Add {names}, or map a column to `{field}`.")
    return check_text(row, column, row.fields[column], limits)


def check_text(row: Row, field: str, value: Any, limits: Limits = LOCAL) -> str:
    """`value` itself if it is a usable text, else InputError."""
    if not isinstance(value, str):
        shown = value if isinstance(value, int | float) else ""
        row.fail(field, shown, f"is {_kind(value)}, not text", "Write it in quotes.")
    if not value.strip():
        row.fail(field, value, "is blank", "Fill it in or remove the row.")
    if len(value) > limits.max_chars:
        problem = f"is too long ({len(value)} characters)"
        row.fail(field, clip(value, 40), problem, f"Use at most {limits.max_chars} characters.")
    if "\0" in value:
        row.fail(field, clip(value, 40), "holds a NUL character", "Remove it.")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        row.fail(field, clip(value, 40), "holds half of a surrogate pair", "Save the file as UTF-8 again.")
    return value


def column_of(row: Row, field: str, columns: Mapping[str, str]) -> str | None:
    """The column that holds `field` in this row; a column the user named must be there."""
    if field in columns:
        if columns[field] not in row.fields:
            have = clip(", ".join(map(str, row.fields)), 80)
            row.fail(field, columns[field], "is not a column of this row", f"It has: {have}.")
        return columns[field]
    return next((name for name in COLUMNS[field] if name in row.fields), None)


def _identity(row: Row, columns: Mapping[str, str], limits: Limits) -> str | None:
    column = column_of(row, "id", columns)
    if column is None or row.fields[column] is None:
        return None
    value = row.fields[column]
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return check_text(row, column, value, limits)


def _task(row: Row, columns: Mapping[str, str]) -> str:
    column = column_of(row, "task", columns)
    if column is None or row.fields[column] in (None, ""):
        return TASKS[0]
    task = row.fields[column]
    if task not in TASKS:
        shown = task if isinstance(task, str | int | float) else _kind(task)
        row.fail(column, shown, "is not a task", f"Use one of {', '.join(TASKS)}, or leave the column out.")
    return str(task)


def _kind(value: object) -> str:
    names = {int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}
    return "empty (null)" if value is None else names.get(type(value), f"a {type(value).__name__}")
