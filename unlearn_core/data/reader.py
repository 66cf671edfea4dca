"""The one door for untrusted files: bytes in, checked rows out, or an InputError that says where.

Every file of rows (jsonl, json, csv, parquet) that reaches Lethe is read here, under limits, and
nothing is cleaned away: markdown, escapes and stray quotes stay as they are. Only what no tokenizer
can carry is refused (NUL, lone surrogates), and what no honest file holds (NaN, duplicate keys).

Not covered: whether the text is true, harmful or private; that is for people to judge.
"""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from unlearn_core.errors import InputError, clip
from unlearn_core.limits import FIELD_CHARACTERS, FILE_BYTES, FILE_ROWS

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What a data set may weigh: bytes per file, rows per set, characters per field."""

    max_bytes: int = 256 * _MIB
    max_rows: int = 200_000
    max_chars: int = 100_000


LOCAL = Limits()
PUBLIC = Limits(max_bytes=FILE_BYTES, max_rows=FILE_ROWS, max_chars=FIELD_CHARACTERS)


@dataclass(frozen=True, slots=True)
class Row:
    """One record and where it stood, for messages: `forget.jsonl line 3`."""

    where: str
    fields: dict[str, Any]

    def fail(self, field: str, value: object, problem: str, mend: str) -> NoReturn:
        raise InputError(f"{self.where}, {field}", value, problem, mend)


def read_rows(path: Path, limits: Limits = LOCAL) -> list[Row]:
    """The rows of one file. Raises InputError naming the file and the line."""
    rows = list(iter_rows(path, limits))
    if not rows:
        raise InputError("data", path.name, "holds no rows", "Give a file with at least one row.")
    if len(rows) > limits.max_rows:
        _too_many_rows(path.name, len(rows), limits)
    return rows


def iter_rows(path: Path, limits: Limits = LOCAL) -> Iterator[Row]:
    """The same one by one, for those who need the first few."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError("data", path.name, "is not a file type that can be read", _TYPES)
    check_file(path, limits)
    if suffix == ".parquet":
        yield from _parquet_rows(path, limits)
    elif suffix == ".csv":
        yield from _csv_rows(path.name, read_text(path, limits))
    else:
        yield from _json_rows(path.name, read_text(path, limits))


def check_file(path: Path, limits: Limits) -> None:
    """Refuse what is not a plain file of bearable size, before a byte of it is read."""
    try:
        info = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "cannot be opened"
        raise InputError("data", str(path), f"cannot be read ({reason})", "Check the path.") from None
    if not stat.S_ISREG(info.st_mode):
        raise InputError("data", str(path), "is not a file", "Give the path of a file of rows.")
    if info.st_size == 0:
        raise InputError("data", path.name, "is empty", "Give a file with at least one row.")
    if info.st_size > limits.max_bytes:
        size, most = info.st_size / _MIB, limits.max_bytes / _MIB
        raise InputError("data", path.name, f"is too large ({size:.1f} MiB)", f"Use at most {most:g} MiB.")


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


def _json_rows(name: str, text: str) -> Iterator[Row]:
    """Either one JSON array of objects, or one object a line (both go by `.json` in the wild)."""
    if text.lstrip()[:1] == "[":
        records = _parse(f"{name}", text)
        if not isinstance(records, list):
            raise InputError("data", name, "is not a list of rows", _OBJECTS)
        for number, record in enumerate(records, start=1):
            yield _object(f"{name} row {number}", record)
        return
    # Only "\n" ends a line: str.splitlines would cut valid rows at U+2028 and its kin.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            yield _object(where, _parse(where, line))


def _object(where: str, record: object) -> Row:
    if not isinstance(record, dict):
        raise InputError(where, type(record).__name__, "is not a JSON object", _OBJECTS)
    return Row(where, record)


def _parse(where: str, text: str) -> object:
    def constant(name: str) -> NoReturn:
        raise InputError(where, name, "is not a JSON number", "Remove the row or write a text.")

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        record = dict(items)
        if len(record) < len(items):
            names = [key for key, _ in items]
            double = next(key for key in names if names.count(key) > 1)
            raise InputError(where, double, "is given twice in one row", "Keep one of the two.")
        return record

    try:
        return json.loads(text, parse_constant=constant, object_pairs_hook=pairs)
    except json.JSONDecodeError as error:
        problem = f"is not JSON ({error.msg}, column {error.colno})"
        raise InputError(where, clip(text, 60), problem, _OBJECTS) from None
    except RecursionError:
        raise InputError(where, clip(text, 60), "is nested too deeply", "Write flat rows of text.") from None
    except ValueError:  # integers beyond Python's digit limit
        problem = "holds a number too long to read"
        raise InputError(where, clip(text, 60), problem, "Write it as text.") from None


def _csv_rows(name: str, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if not any(cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                if len(set(header)) < len(header):
                    raise InputError(where, ", ".join(header), "names a column twice", "Rename one of them.")
                continue
            if len(cells) != len(header):
                problem = f"has {len(cells)} cells, the header has {len(header)}"
                raise InputError(where, clip(",".join(cells), 60), problem, "Quote cells that hold a comma.")
            yield Row(where, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        where = f"{name} line {reader.line_num}"
        mend = "Close every quote; double a quote inside one."
        raise InputError(where, "", f"is not CSV ({error})", mend) from None


def _parquet_rows(path: Path, limits: Limits) -> Iterator[Row]:
    """Rows read in small batches, so that a file which unpacks to gigabytes stops at the limit."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            if file.metadata.num_rows > limits.max_rows:
                _too_many_rows(path.name, file.metadata.num_rows, limits)
            groups = range(file.metadata.num_row_groups)
            if sum(file.metadata.row_group(i).total_byte_size for i in groups) > 4 * limits.max_bytes:
                _too_wide(path.name, limits)
            flat = [f.name for f in file.schema_arrow if not pa.types.is_nested(f.type)]
            number, unpacked = 0, 0
            for batch in file.iter_batches(batch_size=64, columns=flat):
                unpacked += batch.nbytes
                if unpacked > 4 * limits.max_bytes:
                    _too_wide(path.name, limits)
                for record in batch.to_pylist():
                    number += 1
                    yield Row(f"{path.name} row {number}", record)
    except (pa.ArrowException, OSError, ArithmeticError, ValueError) as error:  # a date beyond the years too
        if isinstance(error, InputError):
            raise
        reason = clip(str(error), 80)
        raise InputError("data", path.name, f"is not a parquet file ({reason})", "Write it again.") from None


def _too_wide(name: str, limits: Limits) -> NoReturn:
    problem = f"unpacks to more than {4 * limits.max_bytes // _MIB} MiB"
    raise InputError("data", name, problem, "Give fewer or shorter rows.")


def _too_many_rows(name: str, count: int, limits: Limits) -> NoReturn:
    raise InputError("data", name, f"holds too many rows ({count})", f"Use at most {limits.max_rows}.")


_TYPES = f"Use one of {', '.join(SUFFIXES)}, or a .txt of `prompt => answer` lines."
_OBJECTS = 'Write one object a line, like {"input": "...", "output": "..."}.'
