"""How many threads the tensor library may use, and passes side by side.

Two threads that share every operation take half the time of one on two idle cores, and several times as long where
something else has one of them: each waits for the other thousands of times in a pass. So what can be cut in two
runs side by side, each half in one thread that waits for the other once; it also gives the same bits as one after
the other. What cannot is tried with one thread and with two, before a run and a few times while it trains.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Found = TypeVar("Found")
_SPINS = 20_000  # of a thread that waits, before it gives up its core
_TRIED = (1, 1, 2, 2, 2)  # threads of each piece of work of a trial; the first of a number is not counted
_HOPELESS = 4.0  # times the time of one thread, in the first piece of work of two
_LOOK = 0.05  # seconds that it takes to see whether both cores are free
_FREE = 0.8  # of two cores' time in which two threads computed
_may_choose = False  # whether the number is this file's to choose, of one and two
_taken = 0  # threads that this process may have at work; 0 where nobody said
_second: ThreadPoolExecutor | None = None
_beside = threading.local()  # whether this thread is one of two side by side


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def num_threads(cores: int, *, serving: bool) -> int:
    """One core stays free for the page, and for the other work of a machine with more than two."""
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
    global _may_choose, _taken
    import torch

    if serving:
        sys.setswitchinterval(0.0005)
    if not os.environ.get("OMP_NUM_THREADS", "").isdigit():
        torch.set_num_threads(num_threads(usable_cores(), serving=serving))
        _may_choose = torch.get_num_threads() == 2
    _taken = torch.get_num_threads()
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
    """Use one thread or two for what follows, whichever does `work` sooner now; it is done five times at most.

    The first of a number wakes threads and fills caches, so that it says nothing unless it is hopeless.
    """
    import torch

    if not _may_choose:
        return
    best: dict[int, float] = {}
    last = 0
    for number in _TRIED if free() else ():
        torch.set_num_threads(number)
        began = clock()
        work()
        seconds = clock() - began
        if number == last:
            best[number] = min(seconds, best.get(number, seconds))
        elif number == 2 and seconds > _HOPELESS * best[1]:
            break
        last = number
    torch.set_num_threads(min(best, key=best.__getitem__, default=1))


def side_by_side(calls: Sequence[Callable[[], Found]]) -> list[Found]:
    """What the calls give, in their order. Where this process may have two threads at work, a second one makes some
    of the calls; both compute as the caller would, with gradients or without.

    Each call's own operations have half the threads. The first error, in the order of the calls, is raised when both
    threads are done.
    """
    import torch

    available = max(_taken, torch.get_num_threads())
    if len(calls) < 2 or available < 2 or getattr(_beside, "here", False):
        return [call() for call in calls]
    waiting, lock = iter(enumerate(calls)), threading.Lock()
    found: dict[int, Found] = {}
    failed: dict[int, BaseException] = {}
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def work() -> None:
        torch.set_num_threads(available // 2)
        _beside.here = True
        try:
            with torch.inference_mode(modes[1]), torch.set_grad_enabled(modes[0]):
                while not failed:
                    with lock:
                        place, call = next(waiting, (-1, None))
                    if call is None:
                        return
                    try:
                        found[place] = call()
                    except BaseException as error:
                        failed[place] = error
        finally:
            _beside.here = False

    before = torch.get_num_threads()
    other = _second_thread().submit(work)
    try:
        work()
    finally:
        other.result()
        torch.set_num_threads(before)
    if failed:
        raise failed[min(failed)]
    return [found[place] for place in range(len(calls))]


def _second_thread() -> ThreadPoolExecutor:
    global _second
    if _second is None:
        _second = ThreadPoolExecutor(1, "beside")
    return _second


def _begin_alone() -> None:
    """A fork has none of the threads that its parent had, and takes what cores it is given anew."""
    global _second, _taken
    _second, _taken = None, 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_alone)
