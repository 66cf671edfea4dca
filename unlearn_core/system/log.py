"""The log: one JSON object a line, with what happened to runs and to the server, and no word of a user.

    {"time": "2026-11-24T12:00:00.123Z", "level": "info", "event": "run finished", "run": "k3J9aQzx", ...}

A field is a number, a name of Lethe's own, or the first characters of a run's id, because the whole id opens
the run. Of an error it keeps the types and the places in the code; its words may quote what somebody typed,
and are kept only on one's own machine.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOGGER = logging.getLogger("lethe")
_FRAMES = 12  # the innermost places of an error that are kept
_CAUSES = 4


def note(event: str, *, run: str = "", level: int = logging.INFO, **facts: object) -> None:
    """Log that something happened. `run` is a run's id, `facts` numbers and names of our own."""
    known = {key: value for key, value in facts.items() if value not in (None, "")}
    LOGGER.log(level, event, extra={"facts": ({"run": short(run)} if run else {}) | known})


def short(run_id: str) -> str:
    """Enough of a run's id to find its folder, too little to open it from outside."""
    return run_id[:8]


def log_to(home: Path, name: str = "lethe", *, words: bool = True, console: bool = False) -> None:
    """Send this process's log to a file in `home`, with the words of errors or without, and nowhere else: no
    traceback belongs on a user's screen. `console`: to the standard error as well, where a host keeps it."""
    path = home / "log" / f"{name}.log"
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [_file(path)]
    if console:
        handlers.append(logging.StreamHandler(sys.stderr))
    for handler in handlers:
        handler.setFormatter(_Lines(words))
        LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def _file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return RotatingFileHandler(path, maxBytes=2**20, backupCount=3, encoding="utf-8")
    except OSError:
        return logging.NullHandler()


class _Lines(logging.Formatter):
    """One JSON object a line."""

    def __init__(self, words: bool) -> None:
        super().__init__()
        self._words = words

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["errors"] = _told(record.exc_info[1], self._words)
        return json.dumps(line, default=str)


def _told(error: BaseException, words: bool) -> list[dict[str, object]]:
    """The error and what caused it, the last first: type, places, and its words where they are wanted."""
    told: list[dict[str, object]] = []
    cause: BaseException | None = error
    while cause is not None and len(told) < _CAUSES:
        frames = traceback.extract_tb(cause.__traceback__)[-_FRAMES:]
        places = [f"{'/'.join(Path(f.filename).parts[-2:])}:{f.lineno} {f.name}" for f in frames]
        said = {"says": str(cause)} if words else {}
        told.append({"type": type(cause).__name__, **said, "at": places})
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return told
