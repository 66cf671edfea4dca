"""The wrong row as it stands in its file, between the one before and the one after, for whoever has to mend it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn_core.data.rows.reader import TABLES, Limits, delimiter_of, read_rows, read_text
from unlearn_core.errors import InputError, LetheError, ShownRow, clip

_PLACE = re.compile(r"(?P<file>.+?) (?P<kind>line|row) (?P<number>\d+)(?:, (?P<field>.+))?", re.DOTALL)
_AROUND = 60  # characters shown before and after what is wrong
_MARKED = 60  # of what is wrong itself
Span = tuple[int, int]


@contextmanager
def rows_shown(source: Path | str, limits: Limits) -> Iterator[None]:
    """Errors about a row of `source` (a file, a folder of files, or typed text) leave with the row."""
    try:
        yield
    except InputError as error:
        if not error.rows and (place := _PLACE.fullmatch(error.field)):
            try:
                error.rows = _rows(error, place, source, limits)
            except (LetheError, OSError, ValueError, csv.Error, RecursionError):  # it cannot be shown
                error.rows = ()
        raise


def _rows(error: InputError, place: re.Match[str], source: Path | str, limits: Limits) -> tuple[ShownRow, ...]:
    """The row at `place` and its neighbours, shortened, what is wrong in it marked."""
    at, kind = int(place["number"]), place["kind"]
    path = _file(source, place["file"]) if isinstance(source, Path) else None
    lines = _records(path, limits) if kind == "row" and path else _lines(path, source, limits)
    header = lines[0] if path is not None and path.suffix.lower() in TABLES else ""
    delimiter = delimiter_of(path, header) if path is not None else ""
    shown = []
    for number in range(max(1, at - 1), min(len(lines), at + 1) + 1):
        line = lines[number - 1]
        span = _span(line, place["field"] or "", error.value, header, delimiter) if number == at else None
        shown.append(_shortened(f"{kind} {number}", line, span, number == at))
    return tuple(shown)


def _file(source: Path, name: str) -> Path:
    return source if source.is_file() else next(iter(sorted(source.rglob(name))), source / name)


def _lines(path: Path | None, source: Path | str, limits: Limits) -> list[str]:
    text = str(source) if path is None else read_text(path, limits)
    return text.rstrip("\r\n").split("\n")


def _records(path: Path, limits: Limits) -> list[str]:
    """The rows of a JSON list or a parquet file, each as one line of JSON."""
    return [json.dumps(row.fields, ensure_ascii=False, default=str) for row in read_rows(path, limits)]


def _span(line: str, field: str, value: str, header: str, delimiter: str) -> Span | None:
    """Where in `line` the wrong field stands; None where it is missing, or nobody can tell."""
    if header:
        return _cell(line, field, header, delimiter)
    if line.lstrip()[:1] != "{":
        return (0, len(line))
    found = _values(line, field)
    if found or field:
        return found[-1] if found else None
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return min(error.pos, len(line) - 1), len(line)
    keys = list(re.finditer(re.escape(json.dumps(value, ensure_ascii=False)), line))  # one given twice
    told = keys[-1] if keys else re.search(rf"\b{re.escape(value)}\b", line)  # or a number that is none
    return told.span() if told else None


def _values(line: str, field: str) -> list[Span]:
    """Where the values of a key of a JSON object stand."""
    found = []
    for key in re.finditer(re.escape(json.dumps(field, ensure_ascii=False)) + r"\s*:\s*", line, re.IGNORECASE):
        try:
            _, end = json.JSONDecoder().raw_decode(line, key.end())
        except ValueError:
            continue
        found.append((key.end(), end))
    return found


def _cell(line: str, field: str, header: str, delimiter: str) -> Span | None:
    """Where the cell of a column stands in a line of CSV; of a line with too many cells, those too many."""
    names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
    cells = _cells(line.rstrip("\r"), delimiter)
    if field not in names and field in (known := [name.lower() for name in names]):  # read as the known column
        names = known
    if field in names and len(cells) == len(names):
        start, end = cells[names.index(field)]
        return (start, end) if start < end else (max(0, start - 1), min(len(line), end + 1))  # empty: its commas
    return (cells[len(names)][0], len(line)) if len(cells) > len(names) else None


def _cells(line: str, delimiter: str) -> list[Span]:
    found, start, quoted = [], 0, False
    for at, character in enumerate(line):
        quoted ^= character == '"'
        if character == delimiter and not quoted:
            found.append((start, at))
            start = at + 1
    return [*found, (start, len(line))]


def _shortened(name: str, line: str, span: Span | None, wrong: bool) -> ShownRow:
    start, end = span or (0, 0)
    before, marked, after = line[:start], line[start:end], line[end:].rstrip("\r")
    room = _AROUND if marked else 2 * _AROUND
    before = before if len(before) <= _AROUND else "..." + before[-_AROUND:]
    after = after if len(after) <= room else after[:room] + "..."
    return ShownRow(name, _plain(before), clip(marked, _MARKED), _plain(after), wrong)


def _plain(text: str) -> str:
    return clip(text.replace("\t", " "), len(text) + 3)
