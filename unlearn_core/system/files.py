"""Writing that survives a kill or a full disk: whole or not at all, and one error for "no space".

A kill in the middle of a plain write leaves half a file. Here a file is written under another name,
flushed to the disk, and renamed; a folder of weights is believed only with its completeness marker.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypedDict

from unlearn_core.errors import IntegrityError, ResourceError

MARKER = "complete.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FULL_TEXTS = ("no space left", "disk is full", "disk quota", "file write failed", "unexpected pos")


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn every form in which a full or read-only disk shows itself into one ResourceError.

    OSError, sqlite3.OperationalError, safetensors' SafetensorError and torch's RuntimeError all occur.
    """
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            mend = "Free some space or delete old runs, then try again."
            raise ResourceError("disk", path.name, "is full", mend) from error
        if isinstance(error, OSError) and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            problem = f"cannot be written ({error.strerror})"
            raise ResourceError("disk", path.name, problem, "Choose another folder.") from error
        raise


def is_disk_full(error: BaseException) -> bool:
    """Whether an error of any type means that the disk is full."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    known = isinstance(error, OSError | RuntimeError | sqlite3.OperationalError)
    if known or type(error).__name__ == "SafetensorError":
        text = str(error).lower()
        return any(part in text for part in _FULL_TEXTS)
    return False


def read_json(path: Path) -> Any:
    """What a JSON file holds. OSError, or ValueError for whatever is not JSON that can be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def private_folder(path: Path) -> Path:
    """Make a folder that no other account of this machine may look into, or make it one."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(OSError):  # another account's, or a disk that knows no permissions
        path.chmod(0o700)
    return path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what `path` will hold: a reader of `path` sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with disk_errors(path):
        try:
            yield temporary
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> Path:
    """Write a file in one piece, its line ends as they are; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def write_json(path: Path, record: object, *, for_people: bool = False) -> None:
    """Write `record` as JSON in one piece, in one line or, `for_people`, in lines that a diff can show."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        if for_people:
            json.dump(record, file, allow_nan=False, indent=1)
            file.write("\n")
        else:
            json.dump(record, file, allow_nan=False, separators=(",", ":"))


def finite(value: Any) -> Any:
    """`value` as JSON can hold it: numbers that are not finite, anywhere in it, become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list | tuple) else value


def append_line(path: Path, line: str) -> None:
    """Append one line in one write, so that a kill tears at most the last line."""
    data = line.encode("utf-8") + b"\n"
    with disk_errors(path), path.open("ab", buffering=0) as file:
        written = file.write(data)
        if written != len(data):  # a disk that fills up in mid-line takes a part of it without an error
            file.truncate(file.tell() - (written or 0))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def read_lines(path: Path, since: int = 0) -> tuple[list[bytes], int]:
    """The whole lines after byte `since`, and the offset to go on from; a torn last line waits."""
    try:
        with path.open("rb") as file:
            file.seek(since)
            data = file.read()
    except FileNotFoundError:
        return [], since
    end = data.rfind(b"\n") + 1
    return data[:end].split(b"\n")[:-1], since + end


def json_lines(path: Path) -> Iterator[Any]:
    """What the whole lines hold; one that is no JSON was torn by a kill, or written by somebody else."""
    for line in read_lines(path)[0]:
        with suppress(ValueError, RecursionError):
            yield json.loads(line)


def mend_torn_line(path: Path) -> None:
    """End a line that a killed process left half-written, so that the next one stands on its own."""
    try:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            torn = file.read(1) != b"\n"
    except OSError:
        return  # missing or empty
    if torn:
        append_line(path, "")


def save_complete(folder: Path, write: Callable[[Path], None], facts: Mapping[str, object]) -> None:
    """Let `write` fill a folder, mark it complete with `facts` and each file's hash, move it into place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    with disk_errors(folder):
        try:
            partial.mkdir()
            write(partial)
            files = {}
            for path in sorted(p for p in partial.rglob("*") if p.is_file()):
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
                size = path.stat().st_size
                files[path.relative_to(partial).as_posix()] = {"bytes": size, "sha256": file_hash(path)}
            write_json(partial / MARKER, {"files": files, **facts})
            remove_whole(folder)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def file_hash(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_whole(folder: Path) -> None:
    """Remove a folder, if it is there, so that a kill on the way leaves nothing under its name."""
    doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed, ignore_errors=True)


def check_complete(folder: Path, *, hashes: bool = False) -> dict[str, Any]:
    """The marker of a complete folder; IntegrityError if a file is missing, short or (`hashes`) changed."""
    try:
        marker: dict[str, Any] = read_json(folder / MARKER)
        for name, facts in marker["files"].items():
            path = folder / name
            if path.stat().st_size != facts["bytes"]:
                raise IntegrityError("weights", name, "has the wrong size", "Run again.")
            if hashes and file_hash(path) != facts["sha256"]:
                raise IntegrityError("weights", name, "does not match its hash", "Run again.")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        name = folder.parent.name  # the run: a whole path is nobody's business
        raise IntegrityError("weights", name, "are missing or incomplete", "Run again.") from None
    return marker


class ProcessMark(TypedDict):
    """What a record says of the process that made it; `start` in the unit of `start_of`."""

    home: str
    host: str
    pid: int
    start: float | None


def this_process(home: Path) -> ProcessMark:
    """What tells this process, at work in this home, from another that gets its number later, and this home
    from a copy of it."""
    return {
        "home": _identity(home),
        "host": os.uname().nodename if hasattr(os, "uname") else "",
        "pid": os.getpid(),
        "start": start_of(os.getpid()),
    }


def _identity(folder: Path) -> str:
    """Number of a folder on its disk, the same by whatever path it is reached."""
    try:
        return str(folder.stat().st_ino)
    except OSError:
        return ""


def is_alive(process: Mapping[str, object], last_sign: float, home: Path) -> bool:
    """Whether a recorded process still runs in this home; on another machine, whether it gave a sign in
    120 s. What a copy of the home says to be under way is under way elsewhere."""
    here = this_process(home)
    if process.get("home", here["home"]) != here["home"]:
        return False
    if process.get("host") != here["host"]:
        return time.time() - last_sign < 120
    pid = process.get("pid")
    start = start_of(pid) if isinstance(pid, int) else None
    return start is not None and start == process.get("start")


def start_of(pid: int) -> float | None:
    """When the process began, in any unit; None where there is no such process (or only its remains)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return _start_elsewhere(pid)
    state, *rest = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if state in ("Z", "X") else float(rest[18])  # ticks since boot: no clock change moves them


def _start_elsewhere(pid: int) -> float | None:
    """The same where there is no /proc."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time())
    except (psutil.Error, ValueError, OverflowError):  # the last two for a number that no process has
        return None
