"""Checkpoints of a run under way: the newest whole one is where an interrupted run goes on.

Each is written beside the last and marked complete before the last is removed, so that a kill at any
moment leaves at least one whole checkpoint, and never half of one that looks whole.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import IntegrityError
from unlearn_core.system.files import check_complete, remove_whole, save_complete
from unlearn_core.system.machine import distributed

if TYPE_CHECKING:
    from unlearn_core.training.snapshot import Snapshot

FOLDER = "checkpoints"
EVERY = 15.0  # seconds between checkpoints, or more where writing one takes long
_SHARE = 0.05  # of the time of a run that writing checkpoints may take


class Checkpoints:
    """The checkpoints of one run in `folder`. `facts` is what must agree for one to be taken up again."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self._folder, self._facts = folder, facts
        self._next = time.monotonic() + EVERY

    def latest(self) -> Path | None:
        """The newest whole checkpoint of this very run, every file checked against its hash."""
        return distributed.broadcast(self._latest() if distributed.rank() == 0 else None)

    def _latest(self) -> Path | None:
        for path in sorted(whole(self._folder), key=_step, reverse=True):
            try:
                marker = check_complete(path, hashes=True)
            except IntegrityError:
                continue
            if all(marker.get(key) == value for key, value in self._facts.items()):
                return path
        return None

    def due(self) -> bool:
        return distributed.broadcast(time.monotonic() >= self._next)

    def write(self, snapshot: Snapshot) -> None:
        """Keep where the training stands; ResourceError when the disk is full, the last one then stays."""
        began = time.monotonic()
        try:
            new = self._folder / str(snapshot.step)
            if not distributed.broadcast(new.exists()):
                self._save(new, snapshot)
            for path in whole(self._folder) if distributed.rank() == 0 else ():
                if path != new:
                    remove_whole(path)
        finally:
            now = time.monotonic()
            self._next = now + max(EVERY, (now - began) / _SHARE)

    def _save(self, new: Path, snapshot: Snapshot) -> None:
        """Every process of a team writes its shards into the folder that process 0 makes and completes."""

        def write(partial: Path) -> None:
            snapshot.write(distributed.broadcast(partial))

        if distributed.rank() == 0:
            save_complete(new, write, self._facts)
        else:
            write(new)


def whole(folder: Path) -> list[Path]:
    """The checkpoints in a folder; parts of unfinished ones have names of another form."""
    return [path for path in folder.glob("*") if path.name.isdigit()]


def newest_step(folder: Path) -> int:
    """The step that a run can go on after, 0 for the beginning."""
    return max(map(_step, whole(folder)), default=0)


def _step(path: Path) -> int:
    return int(path.name)
