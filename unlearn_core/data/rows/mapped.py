"""Records that are many: on disk as a memory-mapped arrow table, made into objects when asked for.

A few thousand rows are a plain tuple. Beyond that a row would cost a kilobyte or two of Python objects, so
they are streamed into a file that the system pages in and out as it likes; it goes with its last reader.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

MAPPED_FROM = 20_000  # records
_BATCH = 1000
Record = TypeVar("Record")


def kept(records: Iterable[Record]) -> Sequence[Record]:
    """The records (flat dataclasses of one type) as a sequence, held in memory or, if many, in a file."""
    source = iter(records)
    first = tuple(islice(source, MAPPED_FROM))
    if len(first) < MAPPED_FROM:
        return first
    return MappedRecords(type(first[0]), chain(first, source))


class MappedRecords(Sequence[Record], Generic[Record]):
    """Records of `kind` in a temporary arrow file."""

    def __init__(self, kind: type[Record], records: Iterable[Record]) -> None:
        from datasets import Dataset
        from datasets.arrow_writer import ArrowWriter

        self._kind = kind
        self._folder = tempfile.TemporaryDirectory(prefix="lethe-rows-", ignore_cleanup_errors=True)
        path = str(Path(self._folder.name) / "rows.arrow")
        names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
        with ArrowWriter(path=path) as writer:
            source = iter(records)
            while batch := list(islice(source, _BATCH)):
                writer.write_batch({name: [getattr(row, name) for row in batch] for name in names})
            writer.finalize()
        self._table = Dataset.from_file(path)

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, at: int | slice) -> Record | tuple[Record, ...]:
        if isinstance(at, slice):
            return tuple(self[place] for place in range(*at.indices(len(self))))
        return self._record(self._table[range(len(self))[at]])

    def __iter__(self) -> Iterator[Record]:
        for batch in self._table.iter(batch_size=_BATCH):
            for values in zip(*batch.values(), strict=True):
                yield self._record(dict(zip(batch, values, strict=True)))

    def _record(self, fields: dict[str, Any]) -> Record:
        return self._kind(**{name: _tuples(value) for name, value in fields.items()})


def _tuples(value: object) -> object:
    """Arrow's lists as the tuples they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
