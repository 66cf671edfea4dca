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
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from unlearn_core.store.table.rows import DAMAGED, STATUSES
from unlearn_core.system.machine.memory import memory, resident_memory

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


def numbers(worker: Worker) -> list[GaugeMetricFamily]:
    """What an operator watches, in a fixed order. Bytes and seconds."""
    store, (used, limit), seconds = worker.store, memory(), worker.seconds
    runs = GaugeMetricFamily("lethe_runs", "Runs in the store, by what became of them.", labels=["status"])
    counts = dict(store.values("status"))
    for status in (*STATUSES, DAMAGED):
        runs.add_metric([status], counts.get(status, 0))
    healthy = not any(_reasons(worker))
    return [
        GaugeMetricFamily("lethe_healthy", "1 where all is well, 0 where /health has reasons.", healthy),
        GaugeMetricFamily("lethe_up_seconds", "Since the server began.", time.monotonic() - _BEGAN),
        runs,
        GaugeMetricFamily("lethe_queue_length", "Runs and audits that wait.", worker.num_waiting),
        GaugeMetricFamily("lethe_queue_capacity", "How many may wait.", worker.capacity),
        GaugeMetricFamily("lethe_working", "1 while a run or audit is carried out.", seconds is not None),
        GaugeMetricFamily("lethe_working_seconds", "How long the present one has been at work.", seconds or 0.0),
        GaugeMetricFamily("lethe_memory_bytes", "Resident memory of this process.", resident_memory()),
        GaugeMetricFamily("lethe_memory_used_bytes", "Memory in use of what this process may use.", used),
        GaugeMetricFamily("lethe_memory_limit_bytes", "Memory that this process may use.", limit),
        GaugeMetricFamily("lethe_disk_free_bytes", "Room on the disk of the store.", disk_free(store.home)),
        GaugeMetricFamily("lethe_threads", "Threads of this process.", psutil.Process().num_threads()),
    ]


class _Collector(Collector):
    def __init__(self, found: list[GaugeMetricFamily]) -> None:
        self._found = found

    def collect(self) -> list[GaugeMetricFamily]:
        return self._found


def prometheus(found: list[GaugeMetricFamily]) -> bytes:
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
