"""How a server fares: whether it can do its work and if not why, and the numbers an operator watches.

Reasons and names are Lethe's own words: nothing here tells what anybody typed or where anything lies.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from unlearn_core.store.table.rows import DAMAGED, STATUSES
from unlearn_core.system.machine.memory import memory

if TYPE_CHECKING:
    from unlearn_core.jobs.worker import Worker

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
class Sample:
    """One value under a name of Prometheus' form; `label` tells apart values of one name."""

    name: str
    value: float
    told: str
    label: tuple[str, str] | None = None


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


def numbers(worker: Worker) -> list[Sample]:
    """What an operator watches, in a fixed order. Bytes and seconds."""
    store, (used, limit) = worker.store, memory()
    counts = dict(store.values("status"))
    seconds = worker.seconds
    return [
        Sample(
            "lethe_healthy",
            float(not any(_reasons(worker))),
            "1 where all is well, 0 where /health has reasons.",
        ),
        Sample("lethe_up_seconds", time.monotonic() - _BEGAN, "Since the server began."),
        *(
            Sample(
                "lethe_runs",
                counts.get(status, 0),
                "Runs in the store, by what became of them.",
                ("status", status),
            )
            for status in (*STATUSES, DAMAGED)
        ),
        Sample("lethe_queue_length", worker.num_waiting, "Runs and audits that wait."),
        Sample("lethe_queue_capacity", worker.capacity, "How many may wait."),
        Sample("lethe_working", float(seconds is not None), "1 while a run or audit is carried out."),
        Sample("lethe_working_seconds", seconds or 0.0, "How long the present one has been at work."),
        Sample("lethe_memory_bytes", psutil.Process().memory_info().rss, "Resident memory of this process."),
        Sample("lethe_memory_used_bytes", used, "Memory in use of what this process may use."),
        Sample("lethe_memory_limit_bytes", limit, "Memory that this process may use."),
        Sample("lethe_disk_free_bytes", disk_free(store.home), "Room on the disk of the store."),
        Sample("lethe_threads", psutil.Process().num_threads(), "Threads of this process."),
    ]


class _Collector(Collector):
    """The numbers as families of one name."""

    def __init__(self, found: list[Sample]) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        for name, numbers in groupby(self._found, attrgetter("name")):
            first, *others = numbers
            family = GaugeMetricFamily(name, first.told, labels=[first.label[0]] if first.label else None)
            for number in (first, *others):
                family.add_metric([number.label[1]] if number.label else [], number.value)
            yield family


def prometheus(found: list[Sample]) -> bytes:
    """The numbers in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collector(found))
    return generate_latest(registry)


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
