"""A SQLite index over the run folders, for the runs table. The folders are the truth.

It is brought up to date by comparing modification times at each listing, so runs that another process
writes appear too, and it is rebuilt when missing or damaged. Where SQLite cannot work at all (a mounted
bucket without file locks), the index lives in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, changed INTEGER NOT NULL, created REAL NOT NULL, status TEXT NOT NULL,
    owner TEXT NOT NULL, record TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS by_time ON runs (created DESC);
PRAGMA user_version = 1;
"""


class Index:
    """Run records by time, owner and status; thread-safe."""

    def __init__(self, path: Path, runs: Path) -> None:
        self._path, self._runs = path, runs
        self._lock = threading.Lock()
        self._connection = self._open()

    def select(
        self, *, owner: str | None = None, status: str | None = None, limit: int = 200
    ) -> list[dict[str, Any]]:
        """Records as in run.json, newest first."""
        with self._lock:
            try:
                return self._select(owner, status, limit)
            except sqlite3.Error:
                self._connection = self._rebuild()
                return self._select(owner, status, limit)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def _select(self, owner: str | None, status: str | None, limit: int) -> list[dict[str, Any]]:
        self._refresh()
        rows = self._connection.execute(
            "SELECT record FROM runs WHERE (?1 IS NULL OR owner = ?1) AND (?2 IS NULL OR status = ?2)"
            " ORDER BY created DESC, id LIMIT ?3",
            (owner, status, limit),
        )
        return [json.loads(record) for (record,) in rows]

    def _refresh(self) -> None:
        known = dict(self._connection.execute("SELECT id, changed FROM runs"))
        present = {}
        with os.scandir(self._runs) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue  # being deleted
                with contextlib.suppress(OSError):
                    present[entry.name] = os.stat(f"{entry.path}/run.json").st_mtime_ns
        with self._connection:
            for name in known.keys() - present.keys():
                self._connection.execute("DELETE FROM runs WHERE id = ?", (name,))
            for name, changed in present.items():
                if known.get(name) != changed:
                    self._put(name, changed)

    def _put(self, name: str, changed: int) -> None:
        try:
            text = (self._runs / name / "run.json").read_text(encoding="utf-8")
            record = json.loads(text)
            values = (name, changed, record["created"], record["status"], record["owner"], text)
        except (OSError, ValueError, KeyError, TypeError):
            return  # deleted meanwhile, or not ours
        self._connection.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", values)

    def _open(self) -> sqlite3.Connection:
        try:
            return _connect(str(self._path))
        except sqlite3.Error:
            return self._rebuild()

    def _rebuild(self) -> sqlite3.Connection:
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()
        try:
            return _connect(str(self._path))
        except sqlite3.Error:
            return _connect(":memory:")


def _connect(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=5, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
