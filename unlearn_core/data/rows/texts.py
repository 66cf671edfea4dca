"""The texts of a row: which column holds a field, and whether what it holds can be used.

Known columns: `input` (or question, prompt), `output` (or answer, answers, completion, response), `id`, `task`,
`split`, `document`. A mapping of field to column overrules them, for files that name them otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_core.data.rows.reader import Row
from unlearn_core.errors import clip

COLUMNS: dict[str, tuple[str, ...]] = {
    "input": ("input", "question", "prompt"),
    "output": ("output", "answer", "answers", "completion", "response"),
    "id": ("id",),
    "task": ("task",),
    "split": ("split",),
    "document": ("document", "text"),
}


def text(row: Row, field: str, columns: Mapping[str, str]) -> str:
    """The text of a field, unchanged; InputError where it is missing, blank, too long or not text."""
    column = column_of(row, field, columns)
    if column is None:
        names = " or ".join(f"`{name}`" for name in COLUMNS[field])
        have = clip(", ".join(map(str, row.fields)) or "nothing", 80)
        row.fail(field, have, "is missing from these columns", f"Add {names}, or map a column to `{field}`.")
    return check_text(row, column, row.fields[column])


def text_in(row: Row, column: str) -> str:
    """The text of a column, unchanged; InputError where it is missing, blank, too long or not text."""
    return check_text(row, column, row.fields.get(column))


def answers(row: Row, columns: Mapping[str, str]) -> tuple[str, ...]:
    """The texts of the `output`, the answer first and then others that are as right: of a list of answers, or of an
    object that has them as `text` (SQuAD) or as `value` and `aliases` (TriviaQA)."""
    column = column_of(row, "output", columns)
    value = None if column is None else row.fields[column]
    if isinstance(value, dict) and ("text" in value or "value" in value):
        value = [*_listed(value.get("text", value.get("value"))), *_listed(value.get("aliases"))]
    if column is None or not isinstance(value, list) or not all(isinstance(answer, str) for answer in value):
        return (text(row, "output", columns),)
    found = tuple(dict.fromkeys(check_text(row, column, answer) for answer in value))
    return found or row.fail(column, "", "holds no answer", "Fill it in or remove the row.")


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else [] if value is None else [value]


def check_text(row: Row, field: str, value: object) -> str:
    """`value` itself if it is a usable text, else InputError."""
    if not isinstance(value, str):
        shown = value if isinstance(value, int | float) else ""
        row.fail(field, shown, f"is {kind_of(value)}, not text", "Write it in quotes.")
    if not value.strip():
        row.fail(field, value, "is blank", "Fill it in or remove the row.")
    if len(value) > row.limits.max_chars:
        problem = f"is too long ({len(value)} characters)"
        row.fail(field, clip(value, 40), problem, f"Use at most {row.limits.max_chars} characters.")
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


def kind_of(value: object) -> str:
    names = {int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object"}
    return "empty (null)" if value is None else names.get(type(value), f"a {type(value).__name__}")
