"""The one door for untrusted files: bytes in, checked rows out, or an InputError that says where.

Every file of rows (jsonl or ndjson, json, csv, tsv, parquet) that reaches Lethe is read here, under limits, and
nothing is cleaned away: markdown, escapes and stray quotes stay as they are. Only what no tokenizer
can carry is refused (NUL, lone surrogates), and what no honest file holds (NaN, duplicate keys).

What would take more memory than its bytes promise is told apart before it is parsed: JSON by a count of its
values, parquet in a process of its own (see `parquet`).

Not covered: whether the text is true, harmful or private; that is for people to judge.
"""

from __future__ import annotations

import csv
import io
import json
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from unlearn_core.data.rows.parquet import parquet_columns, parquet_rows
from unlearn_core.errors import InputError, clip
from unlearn_core.limits import FIELD_CHARACTERS, FILE_BYTES, FILE_COLUMNS, FILE_ROWS
from unlearn_core.system.json_text import holds_more

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
TABLES = (".csv", ".tsv")
_MIB = 1024 * 1024
_SHARD = re.compile(r"-\d+-of-\d+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a data set may weigh: bytes per file, rows per set, columns per row, characters per field, and
    seconds for unpacking a file."""

    max_bytes: int = 256 * _MIB
    max_rows: int = 200_000
    max_columns: int = 1_000
    max_chars: int = 100_000
    seconds: float = 600.0


LOCAL = Limits()
PUBLIC = Limits(FILE_BYTES, FILE_ROWS, FILE_COLUMNS, FIELD_CHARACTERS, seconds=10.0)
_NAMING_ROWS = 100  # rows whose columns are listed


@dataclass(frozen=True, slots=True)
class Row:
    """One record, where it stood, for messages (`forget.jsonl line 3`), and what its texts may weigh."""

    where: str
    fields: dict[str, Any]
    limits: Limits = LOCAL

    def fail(self, field: str, value: object, problem: str, mend: str) -> NoReturn:
        raise InputError(f"{self.where}, {field}", value, problem, mend)


def read_rows(path: Path, limits: Limits = LOCAL) -> list[Row]:
    """The rows of one file. Raises InputError naming the file and the line."""
    rows = list(islice(iter_rows(path, limits), limits.max_rows + 1))
    if not rows:
        raise InputError("data", path.name, "holds no rows", "Give a file with at least one row.")
    if len(rows) > limits.max_rows:
        problem = f"holds too many rows (more than {limits.max_rows:,})"
        raise InputError("data", path.name, problem, f"Use at most {limits.max_rows}.")
    return rows


def rows_called(files: Iterable[Path], pattern: str, limits: Limits) -> list[Row]:
    """The rows of every file whose name, as `stem_of` gives it, is of that regular expression; of files in several
    folders those nearest to the top, as for the sets, so that no copy in a folder beside joins in."""
    chosen = nearest([path for path in files if re.fullmatch(pattern, stem_of(path), re.ASCII)])
    return [row for path in chosen for row in read_rows(path, limits)]


def nearest(files: Sequence[Path]) -> list[Path]:
    """Those with the fewest folders above them."""
    depth = min((len(path.parts) for path in files), default=0)
    return [path for path in files if len(path.parts) == depth]


def stem_of(path: Path) -> str:
    """The name of a file without its suffix and the number of its shard: `train` of train-00000-of-00002.parquet."""
    return _SHARD.sub("", path.stem)


def column_names(path: Path, limits: Limits = LOCAL) -> tuple[str, ...]:
    """The columns of a file: from its schema where it has one, else from its first rows."""
    if path.suffix.lower() == ".parquet":
        check_file(path, limits)
        return parquet_columns(path, memory=_memory(limits), seconds=limits.seconds, max_columns=limits.max_columns)
    return tuple(dict.fromkeys(name for row in islice(iter_rows(path, limits), _NAMING_ROWS) for name in row.fields))


def iter_rows(path: Path, limits: Limits = LOCAL) -> Iterator[Row]:
    """The same one by one, for those who need the first few."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError("data", path.name, "is not a file type that can be read", _TYPES)
    check_file(path, limits)
    if suffix == ".parquet":
        yield from _parquet_rows(path, limits)
    elif suffix in TABLES:
        yield from _csv_rows(path, read_text(path, limits), limits)
    else:
        text = read_text(path, limits)
        if holds_more(text.encode("utf-8"), limits.max_rows * limits.max_columns):
            raise InputError("data", path.name, "holds too many values to read", "Give fewer rows of less fields.")
        yield from _json_rows(path.name, text, limits)


def check_file(path: Path, limits: Limits) -> None:
    """Refuse what is not a plain file of bearable size, before a byte of it is read."""
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be opened"
        raise InputError("data", str(path), f"cannot be read ({reason})", "Check the path.") from None
    if not stat.S_ISREG(info.st_mode):
        raise InputError("data", str(path), "is not a file", "Give the path of a file of rows.")
    check_size(path.name, info.st_size, limits)


def check_size(name: str, size: int, limits: Limits) -> None:
    """Refuse a file of no bytes or of too many."""
    if size == 0:
        raise InputError("data", name, "is empty", "Give a file with at least one row.")
    if size > limits.max_bytes:
        mend = f"Use at most {limits.max_bytes / _MIB:g} MiB."
        raise InputError("data", name, f"is too large ({size / _MIB:.1f} MiB)", mend)


def read_text(path: Path, limits: Limits = LOCAL) -> str:
    """The file as text, without a byte-order mark."""
    check_file(path, limits)
    try:
        with path.open("rb") as file:
            raw = file.read(limits.max_bytes + 1)  # a file may grow after it was measured
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError("data", str(path), problem, "Check its permissions.") from None
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError("data", path.name, "is UTF-16", "Save it as UTF-8.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        problem = f"is not UTF-8 at line {line}"
        raise InputError("data", path.name, problem, "Save it as UTF-8 text.") from None


def _json_rows(name: str, text: str, limits: Limits) -> Iterator[Row]:
    """Either one JSON array of objects, or one object a line (both go by `.json` in the wild)."""
    if text.lstrip()[:1] == "[":
        records = parse_json(name, text, limits)
        if not isinstance(records, list):
            raise InputError("data", name, "is not a list of rows", _OBJECTS)
        for number, record in enumerate(records, start=1):
            yield _object(f"{name} row {number}", record, limits)
        return
    # Only "\n" ends a line: str.splitlines would cut valid rows at U+2028 and its kin.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            yield _object(where, parse_json(where, line, limits), limits)


def _object(where: str, record: object, limits: Limits) -> Row:
    if not isinstance(record, dict):
        raise InputError(where, type(record).__name__, "is not a JSON object", _OBJECTS)
    return Row(where, record, limits)


def parse_json(where: str, text: str, limits: Limits) -> object:
    """The value that a JSON text holds; InputError, naming `where`, for what no honest file holds."""

    def constant(name: str) -> NoReturn:
        raise InputError(where, name, "is not a JSON number", "Remove the row or write a text.")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        _check_columns(where, items, limits)
        record: dict[str, object] = {}
        for key, value in items:
            if key in record:
                raise InputError(where, key, "is given twice in one row", "Keep one of the two.")
            record[key] = value
        return record

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({error.msg}, column {error.colno})"
        if "\n" in text:  # a list over many lines
            where, text = f"{where} line {error.lineno}", text.split("\n")[error.lineno - 1]
        raise InputError(where, clip(text, 60), problem, _OBJECTS) from None
    except RecursionError:
        raise InputError(where, clip(text, 60), "is nested too deeply", "Write flat rows of text.") from None
    except ValueError:  # integers beyond Python's digit limit
        problem = "holds a number too long to read"
        raise InputError(where, clip(text, 60), problem, "Write it as text.") from None


def delimiter_of(path: Path, header: str) -> str:
    """What parts the cells of a file with this first line."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return max(",;\t", key=header.count)  # spreadsheets of many countries write semicolons


def _csv_rows(path: Path, text: str, limits: Limits) -> Iterator[Row]:
    name = path.name
    csv.field_size_limit(max(csv.field_size_limit(), limits.max_bytes))  # `check_text` says how long a text may be
    first = text.lstrip("\r\n").split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(path, first), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if not any(cells):
                continue
            if header is None:
                header = _without_empty([cell.strip() for cell in cells], 1)
                _check_columns(where, header, limits)
                if len(set(header)) < len(header):
                    raise InputError(where, ", ".join(header), "names a column twice", "Rename one of them.")
                continue
            cells = _without_empty(cells, len(header))
            if len(cells) != len(header):
                problem = f"has {len(cells)} cells, the header has {len(header)}"
                raise InputError(where, clip(",".join(cells), 60), problem, "Quote cells that hold a comma.")
            yield Row(where, dict(zip(header, cells, strict=True)), limits)
    except csv.Error as error:
        where = f"{name} line {reader.line_num}"
        mend = "Close every quote; double a quote inside one."
        raise InputError(where, "", f"is not CSV ({error})", mend) from None


def _without_empty(cells: list[str], least: int) -> list[str]:
    """The cells without the empty ones at the end beyond the first `least`: commas that a spreadsheet left there."""
    end = len(cells)
    while end > least and not cells[end - 1].strip():
        end -= 1
    return cells[:end]


def _parquet_rows(path: Path, limits: Limits) -> Iterator[Row]:
    rows = parquet_rows(
        path,
        memory=_memory(limits),
        seconds=limits.seconds,
        max_columns=limits.max_columns,
        max_bytes=4 * limits.max_bytes,
    )
    for number, record in enumerate(rows, start=1):
        yield Row(f"{path.name} row {number}", record, limits)


def _memory(limits: Limits) -> int:
    """Bytes for unpacking a file: what it may unpack to, as columns, as rows and as text."""
    return 64 * _MIB + 32 * limits.max_bytes


def _check_columns(where: str, names: Sequence[object], limits: Limits) -> None:
    if len(names) > limits.max_columns:
        problem = f"are too many columns (of at most {limits.max_columns:,})"
        raise InputError(where, f"{len(names):,}", problem, "Leave out those that are not needed.")


_TYPES = f"Use one of {', '.join(SUFFIXES)}, or a .txt of `prompt => answer` lines."
_OBJECTS = 'Write one object a line, like {"input": "...", "output": "..."}.'
