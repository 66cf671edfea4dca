"""One thread or two: what a machine with these times would be given, told by a clock of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from unlearn_core.system.machine import threads
from unlearn_core.system.machine.threads import Threads, faster_of_two, num_threads, use_cores


class Machine:
    """A clock that goes on by what a step takes with the number of threads in use."""

    def __init__(self, seconds: dict[int, float], free: bool = True) -> None:
        self.seconds, self.now, self.free = seconds, 0.0, free

    def threads(self) -> Threads:
        return Threads(lambda: self.now, lambda: self.free)

    def work(self) -> None:
        self.now += self.seconds[torch.get_num_threads()]


@pytest.fixture(autouse=True)
def _threads_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_may_choose", True)
    yield
    torch.set_num_threads(before)


def run(machine: Machine, chooser: Threads, steps: int) -> None:
    for _ in range(steps):
        chooser.begin()
        machine.work()
        chooser.end(1)


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


def test_a_neighbour_that_comes_and_goes_is_noticed() -> None:
    machine = Machine({1: 2.0, 2: 1.0})
    chooser = machine.threads()
    run(machine, chooser, 40)
    assert torch.get_num_threads() == 2
    machine.seconds, machine.free = {1: 2.0, 2: 6.0}, False  # somebody has one of the cores
    run(machine, chooser, 3)
    assert torch.get_num_threads() == 1
    machine.seconds, machine.free = {1: 2.0, 2: 1.0}, True
    run(machine, chooser, 60)
    assert torch.get_num_threads() == 2


def test_a_neighbour_that_is_there_from_the_start_costs_nothing() -> None:
    """Two threads are not tried where both cores are not free."""
    machine = Machine({1: 2.0, 2: 40.0}, free=False)
    faster_of_two(machine.work, lambda: machine.now, lambda: machine.free)
    assert (torch.get_num_threads(), machine.now) == (1, 0.0)
    run(machine, machine.threads(), 100)
    assert machine.now == 100 * 2.0


def test_slow_steps_with_free_cores_are_a_reason_to_try_again() -> None:
    machine = Machine({1: 2.0, 2: 1.0})
    chooser = machine.threads()
    run(machine, chooser, 20)
    machine.seconds = {1: 2.0, 2: 3.5}
    run(machine, chooser, 20)
    assert torch.get_num_threads() == 1


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


def test_a_core_that_becomes_free_is_taken_and_one_that_stays_taken_costs_little() -> None:
    machine = Machine({1: 2.0, 2: 9.0})
    chooser = machine.threads()
    run(machine, chooser, 3)
    began = machine.now
    run(machine, chooser, 160)
    assert torch.get_num_threads() == 1
    assert machine.now - began == 160 * 2.0 + 2 * 7.0  # after 8 and 32 steps one of two threads
    machine.seconds = {1: 2.0, 2: 1.0}
    run(machine, chooser, 270)
    assert torch.get_num_threads() == 2


def test_steady_steps_are_never_tried_again_and_longer_ones_are_no_stall() -> None:
    machine = Machine({1: 2.0, 2: 1.0})
    chooser = machine.threads()
    run(machine, chooser, 5)
    began = machine.now
    for size in (1, 2, 5, 9) * 20:
        chooser.begin()
        machine.now += size * machine.seconds[torch.get_num_threads()]
        chooser.end(size)
    assert machine.now - began == 17 * 20  # all on two threads


def test_a_number_that_was_given_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_may_choose", False)
    torch.set_num_threads(1)
    machine = Machine({1: 2.0, 2: 1.0})
    faster_of_two(machine.work, lambda: machine.now, lambda: machine.free)
    run(machine, machine.threads(), 5)
    assert torch.get_num_threads() == 1


def test_only_one_and_two_are_chosen_between() -> None:
    assert [num_threads(cores, serving=False) for cores in (1, 2, 3, 8)] == [1, 2, 2, 7]
    assert [num_threads(cores, serving=True) for cores in (1, 2, 3, 8)] == [1, 1, 2, 7]


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
