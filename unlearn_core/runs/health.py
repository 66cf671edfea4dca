"""How a server fares: whether it can do its work and if not why, and the numbers an operator watches.

Reasons and names are Lethe's own words: nothing here tells what anybody typed or where anything lies.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from unlearn_core.models.memory import memory
from unlearn_core.runs.store import STATUSES

if TYPE_CHECKING:
    from unlearn_core.runs.worker import Worker

MIN_FREE = 512 * 2**20  # bytes of disk: the weights, checkpoints and records of a few runs
MAX_MEMORY = 0.9  # share of what this process may use
_BEGAN = time.monotonic()


@dataclass(frozen=True)
class Health:
    """`status` is "ok" or "degraded"; `reasons` say what is wrong, each with what to do."""

    status: str
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, worker: Worker) -> Health:
        reasons = tuple(_reasons(worker))
        return cls("degraded" if reasons else "ok", reasons)


@dataclass(frozen=True)
class Number:
    """One value under a name of Prometheus' form; `label` tells apart values of one name."""

    name: str
    value: float
    told: str
    label: tuple[str, str] | None = None
    counts: bool = False  # only ever grows

    def __str__(self) -> str:
        label = f'{{{self.label[0]}="{self.label[1]}"}}' if self.label else ""
        return (
            f"{self.name}{label} {self.value:g}"
            if self.value % 1
            else f"{self.name}{label} {int(self.value)}"
        )


def _reasons(worker: Worker) -> Iterator[str]:
    if not worker.alive:
        yield "The worker has stopped: no run is carried out. Restart Lethe; runs under way can be resumed."
    if worker.ends:
        yield "The end of a run could not be written down yet. Free some space; it is tried again."
    if not writable(worker.store.runs):
        yield "The store cannot be written. Check the disk and its permissions."
    elif disk_free(worker.store.home) < MIN_FREE:
        yield f"Less than {MIN_FREE // 2**20} MiB of disk are free. Delete old runs or give it more room."
    used, limit = memory()
    if used > MAX_MEMORY * limit:
        yield f"More than {MAX_MEMORY:.0%} of the memory is in use. Use smaller runs or a larger machine."


def numbers(worker: Worker) -> list[Number]:
    """What an operator watches, in a fixed order. Bytes and seconds."""
    store, (used, limit) = worker.store, memory()
    counts = dict(store.values("status"))
    seconds = worker.seconds
    return [
        Number(
            "lethe_healthy",
            float(not any(_reasons(worker))),
            "1 where all is well, 0 where /health has reasons.",
        ),
        Number("lethe_up_seconds", time.monotonic() - _BEGAN, "Since the server began.", counts=True),
        *(
            Number(
                "lethe_runs",
                counts.get(status, 0),
                "Runs in the store, by what became of them.",
                ("status", status),
            )
            for status in STATUSES
        ),
        Number("lethe_queue_length", worker.num_waiting, "Runs and audits that wait."),
        Number("lethe_queue_capacity", worker.capacity, "How many may wait."),
        Number("lethe_working", float(seconds is not None), "1 while a run or audit is carried out."),
        Number("lethe_working_seconds", seconds or 0.0, "How long the present one has been at work."),
        Number("lethe_memory_bytes", psutil.Process().memory_info().rss, "Resident memory of this process."),
        Number("lethe_memory_used_bytes", used, "Memory in use of what this process may use."),
        Number("lethe_memory_limit_bytes", limit, "Memory that this process may use."),
        Number("lethe_disk_free_bytes", disk_free(store.home), "Room on the disk of the store."),
        Number("lethe_threads", psutil.Process().num_threads(), "Threads of this process."),
    ]


def prometheus(found: list[Number]) -> str:
    """The numbers in Prometheus' text format, version 0.0.4."""
    lines, told = [], set()
    for number in found:
        if number.name not in told:
            told.add(number.name)
            kind = "counter" if number.counts else "gauge"
            lines += [f"# HELP {number.name} {number.told}", f"# TYPE {number.name} {kind}"]
        lines.append(str(number))
    return "\n".join([*lines, ""])


def writable(folder: Path) -> bool:
    """Whether something can be written in `folder`; tried, byte and all, because a full disk opens files."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"\0" * 4096)
            file.flush()
            return True
    except OSError:
        return False


def disk_free(folder: Path) -> int:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0
