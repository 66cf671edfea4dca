"""The version of a home's layout, and the way from each version to the next.

    store.json     {"version": 2, "lethe": "0.9.0"}

A home without it that holds runs is of version 1. Opening an older home brings it up to date in steps that
may be cut short and begun again; a newer one is refused and left as it is.

    1    the index lies beside the runs; the log is text
    2    the index lies in cache/, so that all a backup may leave out is there; the log is JSON lines

What an earlier version recorded otherwise and every version can read stays as it is: audits in a file of their own.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from unlearn_core.errors import InputError
from unlearn_core.runs.audit_record import AuditRecord
from unlearn_core.system.files import disk_errors, read_json, write_json
from unlearn_core.system.log import note
from unlearn_core.system.version import __version__

MARK = "store.json"
VERSION = 2


def bring_up_to_date(home: Path) -> None:
    """Migrate a home to this version's layout; InputError for one of a later version."""
    found, writer = _version(home)
    if found > VERSION:
        problem = f"was written by Lethe {writer} and has store version {found}"
        own = f"This is Lethe {__version__}, which reads up to version {VERSION}"
        mend = f"install Lethe {writer} or later, or set LETHE_HOME to another folder. Nothing was changed."
        raise InputError("home", str(home), problem, f"{own}: {mend}")
    if found == VERSION:
        return
    with disk_errors(home):
        for version in range(found, VERSION):
            _STEPS[version](home)
        write_json(home / MARK, {"version": VERSION, "lethe": __version__})
    note("store migrated", before=found, now=VERSION)


def _version(home: Path) -> tuple[int, str]:
    """A home's version and the Lethe that wrote it; a new home is as good as one of the first version."""
    try:
        mark = read_json(home / MARK)
        return int(mark["version"]), str(mark.get("lethe", "?"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return 1, ""


def _index_to_cache(home: Path) -> None:
    """The index is made anew where it belongs. Text logs go, because they may quote visitors; so do halves
    of weights and records, which killed runs of that version left behind."""
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        (home / name).unlink(missing_ok=True)
    for log in (home / "log").glob("lethe.log*"):
        log.unlink(missing_ok=True)
    for run in (home / "runs").glob("[!.]*"):
        if not _is_open(run):
            clear_halves(run)


def _is_open(run: Path) -> bool:
    """Whether a run's record says that it is under way, so that its files are another's to clear."""
    try:
        record = read_json(run / "run.json")
        return record.get("status") in ("queued", "running")
    except (OSError, ValueError, AttributeError):
        return True


def earlier_audits(run: Path) -> AuditRecord | None:
    """What earlier versions recorded of a run's audits in `audits.json`, before these were events of the run; None
    where it is not there or cannot be read."""
    try:
        found = AuditRecord.from_json(read_json(run / "audits.json"))
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return found if isinstance(found.results, dict) else None


def clear_halves(run: Path) -> None:
    """Remove what a killed writer left half-written in a run's folder: all such names begin with a dot."""
    for place in (run, run / "checkpoints"):
        for half in place.glob(".*"):
            if half.is_dir():
                shutil.rmtree(half, ignore_errors=True)
            else:
                half.unlink(missing_ok=True)


_STEPS: dict[int, Callable[[Path], None]] = {1: _index_to_cache}
