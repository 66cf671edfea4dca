"""How many threads the tensor library may use.

Two threads on two cores take half the time of one, and several times as long where something else has one of
the cores: each waits for the other at every operation. So a process that has taken both tries now and then.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable

_SPINS = 20_000  # of a thread that waits, before it gives up its core
_ONE, _TWO = (1, 1), (2, 2, 2)  # threads of the steps of a trial; the first of a number is not counted
_STALLED = 1.5  # times the usual time of a step
_HOPELESS = 4.0  # times the time of one thread, in the first step of two
_IN_A_ROW = 3  # stalled steps before another number of threads
_SHORTEST_WAIT, _LONGEST_WAIT = 8, 256  # steps between two trials
_LOOK = 0.05  # seconds that it takes to see whether both cores are free
_FREE = 0.8  # of two cores' time in which two threads computed
_may_choose = False  # whether the number is this file's to choose, of one and two


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def num_threads(cores: int, *, serving: bool) -> int:
    """One core stays free for the page. A command leaves it free too where it costs little: sums depend
    on how many threads share them, and the same seed should give the same weights in both. (One and two
    threads agreed bit for bit on the processors of the first measurements, so with two cores a command may take
    both. On an Intel processor with AMX they do not, in float32 either: a product that sums over some thousand
    tokens or a whole vocabulary differs in its last digits.)
    """
    if cores <= 2 and not serving:
        return cores
    return max(1, cores - 1)


def wait_passively() -> None:
    """Let a thread that waits for another give up its core; before torch is imported, or for a process to come.

    GNU's OpenMP, which torch brings, first spins for some microseconds: without that, two threads on idle cores
    save a tenth of the time instead of a third, since a step waits thousands of times; with more, two threads
    beside a busy process take many times as long as one (benchmarks/threads.py).
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))


def use_cores(*, serving: bool) -> int:
    """Set and return the number of torch threads; OMP_NUM_THREADS in the environment goes before.

    While a page is served, threads trade places more often, so that a viewer never waits for a step.
    """
    global _may_choose
    import torch

    if serving:
        sys.setswitchinterval(0.0005)
    if not os.environ.get("OMP_NUM_THREADS", "").isdigit():
        torch.set_num_threads(num_threads(usable_cores(), serving=serving))
        _may_choose = torch.get_num_threads() == 2
    return torch.get_num_threads()


def both_cores_are_free() -> bool:
    """Whether two threads that only compute have two cores to themselves now: they do so for a moment.

    A step of two threads beside a busy process can take twenty times as long as one of one thread, so this is
    asked before one is tried.
    """
    block, ran = bytes(2**20), []

    def compute() -> None:
        began, until = time.thread_time(), time.perf_counter() + _LOOK
        while time.perf_counter() < until:
            hashlib.sha256(block)  # lets go of the interpreter
        ran.append(time.thread_time() - began)

    other = threading.Thread(target=compute)
    other.start()
    compute()
    other.join()
    return sum(ran) > _FREE * 2 * _LOOK


def faster_of_two(
    work: Callable[[], object],
    clock: Callable[[], float] = time.perf_counter,
    free: Callable[[], bool] = both_cores_are_free,
) -> None:
    """Use one thread or two for what follows, whichever does `work` sooner now; it is done five times at most."""
    if not _may_choose:
        return
    threads = Threads(clock, free)
    while threads.on_trial:
        threads.begin()
        work()
        threads.end(1)


class Threads:
    """One thread or two for the steps of a training, whichever is faster. Most processors give the same bits.

    One and then two are tried at the start, and two again now and then while one is in use, but only where both
    cores are free. Steps that stall are a sign to look whether they still are. The first step of a number wakes
    threads and fills caches, so that it says nothing unless it is hopeless.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        free: Callable[[], bool] = both_cores_are_free,
    ) -> None:
        self._clock, self._free = clock, free
        self._left: list[int] = []  # threads of the steps that are still to be tried
        self._best: dict[int, float] = {}  # seconds per unit of work, by number of threads
        self._last = 0  # threads of the step before, within a trial
        self._usual = self._began = 0.0
        self._slow = self._since = 0
        self._wait = _SHORTEST_WAIT
        if _may_choose and free():
            self._try(*_ONE, *_TWO)
        elif _may_choose:
            _set(1)

    @property
    def on_trial(self) -> bool:
        return bool(self._left)

    def begin(self) -> None:
        """Before a step."""
        if self._left:
            _set(self._left[0])
        self._began = self._clock()

    def end(self, size: int) -> None:
        """After a step of this many units of work (tokens)."""
        if not _may_choose:
            return
        pace = (self._clock() - self._began) / max(1, size)
        if self._left:
            self._tried(self._left.pop(0), pace)
            return
        self._since += 1
        self._slow = self._slow + 1 if pace > _STALLED * self._usual else 0
        if _threads() == 1:  # whoever had the other core may be gone, which no step of one thread shows
            if self._may_try():
                self._try(*_TWO, one=pace)
        elif self._slow >= _IN_A_ROW and not self._free():
            _set(1)
            self._since = 0
        elif self._slow >= _IN_A_ROW and self._may_try():
            self._try(*_ONE, *_TWO)

    def _try(self, *numbers: int, one: float | None = None) -> None:
        """Take the next steps with these numbers of threads; `one`: what a step of one thread takes already."""
        self._left, self._last = list(numbers), 0
        self._best = {} if one is None else {1: one}

    def _tried(self, number: int, pace: float) -> None:
        if number == self._last:
            self._best[number] = min(pace, self._best.get(number, pace))
        elif number == 2 and pace > _HOPELESS * self._best[1]:
            self._left = []
        self._last = number
        if not self._left:
            chosen = min(self._best, key=self._best.__getitem__)
            self._usual, self._slow, self._since = self._best[chosen], 0, 0
            _set(chosen)

    def _may_try(self) -> bool:
        """Whether it is time for another trial, and both cores are free for it."""
        if self._since < self._wait:
            return False
        self._since, self._wait = 0, min(4 * self._wait, _LONGEST_WAIT)
        return self._free()


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _set(number: int) -> None:
    import torch

    if _threads() != number:
        torch.set_num_threads(number)
