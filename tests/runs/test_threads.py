"""One thread or two, told by a clock of our own, and calls side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from unlearn_core.system.machine import threads
from unlearn_core.system.machine.threads import faster_of_two, num_threads, side_by_side, use_cores


class Machine:
    """A clock that goes on by what a step takes with the number of threads in use."""

    def __init__(self, seconds: dict[int, float], free: bool = True) -> None:
        self.seconds, self.now, self.free = seconds, 0.0, free

    def work(self) -> None:
        self.now += self.seconds[torch.get_num_threads()]


@pytest.fixture(autouse=True)
def _threads_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_may_choose", True)
    monkeypatch.setattr(threads, "_taken", 0)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "best", "of_two"),
    [({1: 2.0, 2: 1.0}, 2, 3), ({1: 1.0, 2: 1.2}, 1, 3), ({1: 1.0, 2: 8.0}, 1, 1)],  # the last is told at once
)
def test_the_faster_number_is_found_in_few_pieces_of_work(seconds: dict[int, float], best: int, of_two: int) -> None:
    machine = Machine(seconds)
    started = 2.5  # by the first of two threads, beside the work

    def work() -> None:
        nonlocal started
        if torch.get_num_threads() == 2:
            machine.now, started = machine.now + started, 0.0
        machine.work()

    faster_of_two(work, lambda: machine.now, lambda: machine.free)
    assert torch.get_num_threads() == best
    assert machine.now == pytest.approx(2.5 + 2 * seconds[1] + of_two * seconds[2])


def test_a_neighbour_that_is_there_from_the_start_costs_nothing() -> None:
    """Two threads are not tried where both cores are not free."""
    machine = Machine({1: 2.0, 2: 40.0}, free=False)
    faster_of_two(machine.work, lambda: machine.now, lambda: machine.free)
    assert (torch.get_num_threads(), machine.now) == (1, 0.0)


def test_whether_both_cores_are_free_is_seen_by_using_them() -> None:
    """Beside two busy processes a core, they are not."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * threads.usable_cores())]
    try:
        seen = [threads.both_cores_are_free() for _ in range(20)]
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert sum(seen) < 10


def test_a_number_that_was_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_may_choose", False)
    torch.set_num_threads(1)
    machine = Machine({1: 2.0, 2: 1.0})
    faster_of_two(machine.work, lambda: machine.now, lambda: machine.free)
    assert (torch.get_num_threads(), machine.now) == (1, 0.0)


def test_only_one_and_two_are_chosen_between() -> None:
    assert [num_threads(cores, serving=False) for cores in (1, 2, 3, 8)] == [1, 2, 2, 7]
    assert [num_threads(cores, serving=True) for cores in (1, 2, 3, 8)] == [1, 1, 2, 7]


def test_calls_side_by_side_are_made_by_two_threads_and_answered_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_taken", 2)
    both = threading.Barrier(2, timeout=60)

    def call(number: int) -> tuple[int, str, int]:
        if number < 2:
            both.wait()  # passed by two threads only
        return number, threading.current_thread().name, torch.get_num_threads()

    torch.set_num_threads(2)
    found = side_by_side([partial(call, number) for number in range(9)])
    assert [number for number, *_ in found] == [*range(9)]
    assert len({name for _, name, _ in found[:2]}) == 2
    assert {number for *_, number in found} == {1}
    assert torch.get_num_threads() == 2


def test_both_threads_compute_as_the_caller_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_taken", 2)
    both = threading.Barrier(2, timeout=60)

    def modes() -> tuple[bool, bool]:
        both.wait()
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    assert side_by_side([modes, modes]) == [(True, False)] * 2
    with torch.no_grad():
        assert side_by_side([modes, modes]) == [(False, False)] * 2
    with torch.inference_mode():
        assert side_by_side([modes, modes]) == [(False, True)] * 2


def test_an_error_in_either_thread_reaches_the_caller_and_the_next_calls_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_taken", 2)
    both = threading.Barrier(2, timeout=60)

    def fail(word: str) -> None:
        both.wait()
        raise ValueError(word)

    with pytest.raises(ValueError, match="first"):
        side_by_side([partial(fail, "first"), partial(fail, "second")])
    assert side_by_side([lambda: 1, lambda: 2]) == [1, 2]


@pytest.mark.parametrize("taken", [0, 1])
def test_one_thread_makes_all_calls_itself(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_taken", taken)
    torch.set_num_threads(1)
    assert set(side_by_side([threading.get_ident] * 3)) == {threading.get_ident()}


def test_calls_within_calls_take_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_taken", 2)

    def inner() -> set[int]:
        return {threading.get_ident(), *side_by_side([threading.get_ident] * 3)}

    assert all(len(names) == 1 for names in side_by_side([inner] * 4))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_has_a_second_thread_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import os, sys\n"
        "from unlearn_core.system.machine import threads\n"
        "threads._taken = 2\n"
        "calls = [lambda: 1, lambda: 2]\n"
        "assert threads.side_by_side(calls) == [1, 2]\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    alone = threads._taken == 0\n"
        "    threads._taken = 2\n"
        "    os._exit(0 if alone and threads.side_by_side(calls) == [1, 2] else 1)\n"
        "print(os.waitpid(child, 0)[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["0"], done.stderr


@pytest.mark.parametrize("threads_given", ["", "1"])
def test_the_environment_goes_before(threads_given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads_given)
    monkeypatch.setattr(threads, "usable_cores", lambda: 2)
    torch.set_num_threads(1)
    assert use_cores(serving=False) == (2 if threads_given == "" else 1)


def test_a_run_of_the_page_waits_passively_and_gives_way_to_it(tmp_path: Path) -> None:
    """Its process is asked, as the page starts it."""
    program = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from unlearn_core.jobs.child_process import ChildProcess\n"
        "apart = ChildProcess(Path(sys.argv[1]))\n"
        "apart.start()\n"
        "pid = apart._child.pid\n"
        "while os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0): pass\n"
        "said = Path(f'/proc/{pid}/environ').read_bytes().split(bytes(1))\n"
        "print(b'OMP_WAIT_POLICY=PASSIVE' in said)\n"
        "apart.close()\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.stdout.split() == ["True"], done.stderr
