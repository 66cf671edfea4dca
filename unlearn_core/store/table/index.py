"""A SQLite index over the run folders, for the runs table. The folders are the truth.

It is brought up to date by comparing modification times and sizes at each listing, so runs that another
process writes appear too, and it is rebuilt when missing, damaged or of another version. Where SQLite cannot
work at all (a mounted bucket without file locks), the index lives in memory.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from unlearn_core.store.labels import read_labels
from unlearn_core.store.table.rows import DAMAGED, TOTAL, TOTAL_OF, RunQuery, RunRow, checked_record
from unlearn_core.system.files import read_json
from unlearn_core.system.log import note

if TYPE_CHECKING:
    from unlearn_core.store.table.rows import RecordJson

_VERSION = 6
OWNER = "owner"  # in a run's folder: whose it is, as a hash, whatever becomes of its record
HOUSE = "house"  # in place of a hash: a run that ships with Lethe, which everybody sees and no secret opens
_DAMAGED = "Its record cannot be read. What else it has lies in its folder; it can be deleted."
_COLUMNS = tuple(field.name for field in fields(RunRow))
_REAL = ("created", "forget", "retain", "neighbours", "seconds")
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS runs (
    {", ".join(f"{name} {'REAL' if name in _REAL else 'TEXT'}" for name in _COLUMNS if name != "seed")},
    seed INTEGER, changed INTEGER NOT NULL, owner TEXT NOT NULL, words TEXT NOT NULL, record TEXT NOT NULL,
    PRIMARY KEY (id));
CREATE INDEX IF NOT EXISTS by_time ON runs (created DESC);
CREATE INDEX IF NOT EXISTS by_ground ON runs (ground, created DESC);
CREATE INDEX IF NOT EXISTS by_setup ON runs (setup);
PRAGMA user_version = {_VERSION};
"""
_PUT = (
    f"INSERT OR REPLACE INTO runs ({', '.join(_COLUMNS)}, changed, owner, words, record)"
    f" VALUES ({', '.join('?' * (len(_COLUMNS) + 4))})"
)
_OWNED = "(?1 IS NULL OR (?1 != '' AND owner = ?1))"  # who has no token owns nothing
_SEEN = f"({_OWNED} OR owner = '{HOUSE}')"
_UNBOUND = (sqlite3.ProgrammingError, sqlite3.InterfaceError)  # a value that SQLite has no type for
Found = TypeVar("Found")


class Index:
    """Run records and rows by time, owner, status and what else a query names; thread-safe."""

    def __init__(self, path: Path, runs: Path) -> None:
        self._path, self._runs = path, runs
        self._lock = threading.Lock()
        self._connection = self._open()

    def select(
        self, *, owner: str | None = None, status: str | None = None, limit: int = 200, house: bool = False
    ) -> list[RecordJson]:
        """Records as in run.json, with their labels, newest first; with `house` the recorded ones too."""
        sql = (
            f"SELECT record, name, tags FROM runs WHERE {_SEEN if house else _OWNED} AND (?2 IS NULL OR status = ?2)"
            " ORDER BY created DESC, id LIMIT ?3"
        )
        found = self._ask(lambda at: at.execute(sql, (owner, status, limit)).fetchall())
        return [json.loads(text) | {"title": name, "tags": tuple(json.loads(tags))} for text, name, tags in found]

    def rows(self, query: RunQuery) -> tuple[list[RunRow], int]:
        """One page of rows, and how many there are in all."""
        where, values = _where(query)
        way = "DESC" if query.descending else "ASC"
        sort = query.sort
        if TOTAL.fullmatch(sort):
            sort = f"json_extract(totals, '$.{sort.removeprefix(TOTAL_OF)}')"
        order = f"{sort} IS NULL OR {sort} = '', {sort} {way}, id"
        page = f"SELECT {', '.join(_COLUMNS)} FROM runs WHERE {where} ORDER BY {order} LIMIT ? OFFSET ?"

        def work(at: sqlite3.Connection) -> tuple[list[tuple[Any, ...]], int]:
            found = at.execute(page, [*values, query.limit, query.offset]).fetchall()
            (total,) = at.execute(f"SELECT count(*) FROM runs WHERE {where}", values).fetchone()
            return found, int(total)

        found, total = self._ask(work)
        return [_row(values) for values in found], total

    def values(self, column: str, owner: str | None = None) -> list[tuple[str, int]]:
        """The values of a text column with their numbers of runs, the most recent first."""
        assert column in _COLUMNS
        sql = (
            f"SELECT {column}, count(*) FROM runs WHERE {_SEEN} AND {column} != ''"
            f" GROUP BY {column} ORDER BY max(created) DESC LIMIT 200"
        )
        return self._ask(lambda at: at.execute(sql, (owner,)).fetchall())

    def forget_deleted(self) -> None:
        """Bring the index up to date and leave nothing of what went in its files either."""
        self._ask(lambda at: at.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _ask(self, work: Callable[[sqlite3.Connection], Found]) -> Found:
        """`work` on an index that is up to date; a damaged one is rebuilt first."""
        with self._lock:
            try:
                self._refresh()
                return work(self._connection)
            except sqlite3.Error as error:
                self._connection = self._instead(error)
                self._refresh()
                return work(self._connection)

    def _refresh(self) -> None:
        known = dict(self._connection.execute("SELECT id, changed FROM runs"))
        present = {}
        with os.scandir(self._runs) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue  # being deleted
                with contextlib.suppress(OSError):
                    if not entry.is_dir():
                        continue
                    try:
                        found = os.stat(f"{entry.path}/run.json")
                    except FileNotFoundError:
                        found = entry.stat()
                    # Two writes in one tick of the file system's clock have the same time, not the same size.
                    present[entry.name] = hash((found.st_mtime_ns, found.st_size))
        with self._connection:
            for name in known.keys() - present.keys():
                self._connection.execute("DELETE FROM runs WHERE id = ?", (name,))
            for name, changed in present.items():
                if known.get(name) != changed:
                    self._put(name, changed)

    def _put(self, name: str, changed: int) -> None:
        folder = self._runs / name
        try:
            record = checked_record(read_json(folder / "run.json"), name)
            self._write(record, read_labels(folder), changed)
        except (OSError, ValueError, *_UNBOUND):
            with contextlib.suppress(OSError):  # deleted meanwhile
                self._write(damaged(folder), {}, changed)

    def _write(self, record: RecordJson, labels: dict[str, Any], changed: int) -> None:
        row = RunRow.of(record, labels)
        cells = [getattr(row, column) for column in _COLUMNS]
        plain = [json.dumps(cell) if isinstance(cell, dict | tuple) else cell for cell in cells]
        words = "\n".join((row.name, " ".join(row.tags), row.method, row.target, row.data, row.about)).lower()
        self._connection.execute(_PUT, [*plain, changed, record["owner"], words, json.dumps(record)])

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(str(self._path))
        except sqlite3.Error as error:
            return self._instead(error)

    def _instead(self, error: sqlite3.Error) -> sqlite3.Connection:
        """An index to go on with. What another process holds locked is left to it, the rest is made anew."""
        locked = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        note(
            "index set aside" if locked else "index rebuilt",
            level=logging.WARNING,
            error=type(error).__name__,
        )
        return _connect(":memory:") if locked else self._rebuild()

    def _rebuild(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()
        try:
            return _connect(str(self._path))
        except sqlite3.Error:
            return _connect(":memory:")


def read_owner(folder: Path) -> str:
    """Whose a run is, as a hash; of one from before that had a file of its own, as its record says."""
    with contextlib.suppress(OSError, ValueError):
        return (folder / OWNER).read_text(encoding="ascii").strip()
    with contextlib.suppress(OSError, ValueError):
        return str(checked_record(read_json(folder / "run.json"), folder.name).get("owner", ""))
    return ""


def damaged(folder: Path) -> RecordJson:
    """What stands for a record that cannot be read: its folder's time, and its owner. OSError where there is
    no folder."""
    known = {"id": folder.name, "created": folder.stat().st_mtime, "owner": read_owner(folder)}
    return {**known, "spec": {"name": f"({DAMAGED})"}, "status": DAMAGED, "message": _DAMAGED}


def _where(query: RunQuery) -> tuple[str, list[str | int]]:
    parts, values = ["1"], []
    for column in ("method", "status", "verdict", "ground", "setup", "owner"):
        wanted = getattr(query, column)
        if column == "owner" and wanted is not None:
            parts.append("owner IN (?, ?)")
            values += [wanted or HOUSE, HOUSE]  # who has no token owns nothing
        elif wanted:
            parts.append(f"{column} = ?")
            values.append(wanted)
    if query.made_here:
        parts.append("owner != ?")
        values.append(HOUSE)
    for word in query.text.lower().split()[:8]:
        called = [name for name, title in query.called.items() if word in title.lower()]
        among = ", ".join("?" * len(called))
        parts.append(f"(instr(words, ?) > 0 OR method IN ({among}) OR target IN ({among}))")
        values += [word, *called, *called]
    if query.tag:
        parts.append("instr(tags, ?) > 0")
        values.append(json.dumps(query.tag))
    if query.ids:
        parts.append(f"id IN ({', '.join('?' * len(query.ids))})")
        values += query.ids
    return " AND ".join(parts), values


def _row(values: Sequence[Any]) -> RunRow:
    cells = dict(zip(_COLUMNS, values, strict=True))
    cells |= {name: json.loads(cells[name]) for name in ("settings", "totals", "titles")}
    return RunRow(**cells | {"tags": tuple(json.loads(cells["tags"]))})


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")  # what people deleted is overwritten
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):  # 0 is a new file
            raise sqlite3.DatabaseError(f"an index of version {version}")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
