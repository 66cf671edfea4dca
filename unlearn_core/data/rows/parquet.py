"""Rows of a parquet file, unpacked by a process of its own whose memory and time are limited.

A few hundred bytes of parquet can unpack to gigabytes, and the sizes that a file tells of itself may be lies.
The child writes its rows as JSON lines; what it cannot hold ends the child and not whoever asked.

    python -m unlearn_core.data.rows.parquet FILE MEMORY COLUMNS BYTES    bytes of memory, columns and bytes of rows
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError, clip
from unlearn_core.system.limited import LimitReached, hold_to, limited, say

_AT_ONCE = threading.Semaphore(2)  # children; each may take its memory
_BATCH = 64  # rows
_MAGIC = b"PAR1"  # at both ends of a file
_AGAIN = "Write it again."


def parquet_columns(path: Path, *, memory: int, seconds: float, max_columns: int) -> tuple[str, ...]:
    """The names of the columns, from the schema alone."""
    with _unpacked(path, memory, seconds, max_columns, 0) as lines:
        return tuple(next(lines))


def parquet_rows(
    path: Path, *, memory: int, seconds: float, max_columns: int, max_bytes: int
) -> Iterator[dict[str, Any]]:
    """The rows one by one. InputError for what is no parquet file, and for what unpacks to more than `max_bytes`
    as JSON, needs more than `memory` bytes or more than `seconds`."""
    with _unpacked(path, memory, seconds, max_columns, max_bytes) as lines:
        names = next(lines)
        for values in lines:
            yield dict(zip(names, values, strict=True))


@contextlib.contextmanager
def _unpacked(path: Path, memory: int, seconds: float, max_columns: int, max_bytes: int) -> Iterator[Iterator[Any]]:
    """What the child tells of a file: the names of its columns, then the values of each row."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(-min(4, file.seek(0, os.SEEK_END)), os.SEEK_END)
        if start != _MAGIC or file.read() != _MAGIC:
            raise InputError("data", path.name, "is not a parquet file (its marks are missing)", _AGAIN)
    given = (path.resolve(), memory, max_columns, max_bytes)
    line = max_bytes + (1 << 20)  # no line is longer than all rows may be, names included
    with _AT_ONCE, limited(__name__, *given, seconds=seconds, line=line) as told:
        yield _values(path.name, told)


def _values(name: str, told: Iterator[Any]) -> Iterator[Any]:
    try:
        for kind, value in told:
            if kind == "problem":
                raise InputError("data", name, str(value), _AGAIN)
            yield value
    except LimitReached as limit:
        problem = "takes too long to unpack" if limit.slow else "cannot be unpacked in the memory there is for it"
        raise InputError("data", name, problem, "Write it again with fewer or shorter rows.") from None


def _serve(path: str, memory: int, max_columns: int, max_bytes: int) -> Iterator[tuple[str, object]]:
    """The child's side: the names of the columns, the rows, and an end or a problem."""
    import pyarrow as pa
    from pyarrow import parquet

    hold_to(memory)
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            if len(names) > max_columns:
                yield "problem", f"has {len(names):,} columns, more than the {max_columns:,} that can be read"
                return
            if len(set(names)) < len(names):
                yield "problem", "names a column twice"
                return
            yield "columns", names
            if not max_bytes:
                yield "end", None
                return
            written = 0
            for batch in file.iter_batches(batch_size=_BATCH, use_threads=False):
                if batch.nbytes > max_bytes:
                    written = max_bytes + 1
                for record in batch.to_pylist() if written <= max_bytes else ():
                    values = [_plain(record[name]) for name in names]
                    written += len(json.dumps(values))
                    if written > max_bytes:
                        break
                    yield "row", values
                if written > max_bytes:
                    yield "problem", f"unpacks to more than {max_bytes >> 20} MiB"
                    return
        yield "end", None
    except (pa.ArrowException, OSError, ArithmeticError, ValueError) as error:  # a date beyond the years too
        if not isinstance(error, MemoryError):
            yield "problem", f"is not a parquet file ({clip(str(error), 80)})"


def _plain(value: object) -> object:
    """`value` as JSON has it; a moment or a decimal as text, and bytes, which are no text, as their length."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return {"bytes": len(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)


if __name__ == "__main__":
    for message in _serve(sys.argv[1], *map(int, sys.argv[2:5])):
        say(*message)
