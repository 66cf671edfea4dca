"""Where Lethe keeps things between runs, decided once, in one place.

    runs/<id>/     one folder per run: run.json, events.jsonl, weights/
    cache/scores/  scores by weights hash and data fingerprint
    uploads/       files that visitors gave
    log/           what happened, one JSON object a line
    cache/index.sqlite  an index over runs/, rebuilt when missing or stale
    store.json     the version of this layout (see `migrate`)

A backup is a copy of this folder, made at any time; it may leave out cache/ and log/.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from unlearn_core.errors import ResourceError

PERSISTENT = Path("/data/lethe")  # where a Space mounts storage that outlives it


def home_dir(chosen: str | os.PathLike[str] | None = None) -> Path:
    """The home directory, made if need be.

    `chosen` or LETHE_HOME where given; else /data on a Space that has it, the user's cache, or, for an
    account without a writable home, a folder among the temporary files. ResourceError if a chosen one
    cannot be written.
    """
    named = chosen if chosen is not None else os.environ.get("LETHE_HOME") or None
    if named is not None:
        folder = Path(named).expanduser().absolute()
        if not _writable(folder):
            raise ResourceError("home", str(folder), "cannot be written", "Set LETHE_HOME to a folder of yours.")
        return folder
    for folder in _usual_places():
        if _writable(folder):
            return folder
    raise ResourceError("home", "", "no folder can be written", "Set LETHE_HOME to a folder of yours.")


def _usual_places() -> Iterator[Path]:
    if os.environ.get("SPACE_ID"):
        yield PERSISTENT
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        yield Path(cache) / "lethe"
    with contextlib.suppress(RuntimeError):  # an account without a home directory
        yield Path.home() / ".cache" / "lethe"
    yield Path(tempfile.gettempdir()) / f"lethe-{os.getuid() if hasattr(os, 'getuid') else 'user'}"


def _writable(folder: Path) -> bool:
    """Whether files can be made in `folder`; tried, because permission bits do not tell on every mount."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except (OSError, ValueError):
        return False
