"""What this process keeps among the temporary files: uploads on their way in, files on their way out.

Gradio keeps its copies in one folder for all its processes, without a bound, and forgets those of a process
that was killed. Here each process has a folder of its own, named after it. It goes when the process ends;
what a killed one left goes when the next begins; and of too much the oldest goes first.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import tempfile
import time
import zlib
from pathlib import Path

from unlearn_core.limits import SCRATCH_BYTES, SCRATCH_FILES
from unlearn_core.system.files import disk_errors, start_of, this_process
from unlearn_core.system.periodic import PeriodicThread

_EVERY = 0.5  # seconds between looks: a flood on a fast line brings some 100 MB a second
_EMPTY = 600.0  # seconds after which a folder that nothing lies in goes


@functools.cache
def own_folder(base: Path) -> Path:
    """A new folder of this process below `base`; those of processes that are no more are removed.
    ResourceError where none can be made."""
    process = this_process(base)
    ours = f"lethe-{zlib.crc32(process['host'].encode()):08x}-"  # processes of another machine are not ours
    for folder in base.glob(f"{ours}*-*-*"):
        pid, start, _ = folder.name.removeprefix(ours).split("-", 2)
        if pid.isdigit() and _told(start_of(int(pid))) != start:
            shutil.rmtree(folder, ignore_errors=True)
    with disk_errors(base):
        base.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=f"{ours}{process['pid']}-{_told(process['start'])}-", dir=base)
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return Path(made)


def _told(start: float | None) -> str:
    return "gone" if start is None else f"{start:.0f}"


@functools.cache
def for_gradio() -> Path:
    """Where Gradio keeps its copies: in a folder of this process in GRADIO_TEMP_DIR, which it reads."""
    base = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    folder = own_folder(base) / "gradio"
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


def keep_within(folder: Path, most: int, files: int = SCRATCH_FILES) -> int:
    """Delete the oldest files until what is left takes at most `most` bytes of the disk in at most so many
    `files`; the newest always stays. Returns the bytes left."""
    found = []
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            stat = path.lstat()
            if path.is_dir():
                if time.time() - stat.st_mtime > _EMPTY:
                    path.rmdir()
                continue
            found.append((stat.st_mtime, getattr(stat, "st_blocks", 0) * 512 or stat.st_size, path))
    found.sort(key=lambda one: one[0])
    total = sum(size for _, size, _ in found)
    for number, (_, size, path) in enumerate(found[:-1]):
        if total <= most and len(found) - number <= files:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
    return total


class Sweeper(PeriodicThread):
    """Keeps Gradio's copies within the limits of a public or a private server."""

    def __init__(self, public: bool) -> None:
        super().__init__("sweeper", _EVERY)
        self._folder, self._most = for_gradio(), SCRATCH_BYTES[public]

    def look(self) -> None:
        keep_within(self._folder, self._most)

    def close(self) -> None:
        """End it, and remove everything."""
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)
