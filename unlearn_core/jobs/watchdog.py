"""A second thread that sees to it that the worker is well: the queue goes on whatever becomes of a run.

It looks every two seconds. A worker thread that died is replaced, and one whose run gives no sign for too
long is given up: the run is marked interrupted, so that it can be resumed, and the next one begins. A run
that would use up the memory of its container is ended before the system ends all of Lethe. Ends that a full
disk refused are written down once there is room, and runs of processes that died are marked.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from unlearn_core.errors import ResourceError
from unlearn_core.system.machine.memory import container_memory
from unlearn_core.system.periodic import PeriodicThread

if TYPE_CHECKING:
    from unlearn_core.jobs.worker import Worker

EVERY = 2.0  # seconds between looks
RECOVER_EVERY = 60.0
# Seconds without an event: a stranger's run has many a second, a large model of one's own may load for long.
SILENCE = {True: 60.0, False: 3600.0}
MOST_MEMORY = 0.92  # share of the container's limit, in two looks on end


class Watchdog(PeriodicThread):
    """Watches one worker until it is closed."""

    def __init__(self, worker: Worker) -> None:
        super().__init__("watchdog", EVERY)
        self._worker = worker
        self._full, self._recovered = 0, time.monotonic()

    def look(self) -> None:
        worker = self._worker
        if not worker.alive:
            worker.replace("The worker that carried it out stopped")
        elif worker.silent > SILENCE[worker.public]:
            worker.replace(f"It gave no sign of life for {worker.silent:.0f} s")
        worker.ends.write()
        self._guard_memory()
        if time.monotonic() - self._recovered > RECOVER_EVERY:
            self._recovered = time.monotonic()
            worker.store.recover()

    def _guard_memory(self) -> None:
        found = container_memory()
        self._full = self._full + 1 if found and found[0] > MOST_MEMORY * found[1] else 0
        if self._full >= 2:
            self._full = 0
            mend = "Use a smaller batch_size, shorter rows, the lora adapter or a larger machine."
            self._worker.end(ResourceError("memory", "this machine", "is nearly used up", mend))
