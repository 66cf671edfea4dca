"""A container with a real limit of memory: a run that needs more ends in words, and nothing is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONTROLLER = Path("/sys/fs/cgroup/memory")
LIMIT = 1024 * 2**20
ENTER = """
echo $$ > "$0/cgroup.procs" && exec unshare --cgroup --mount sh -c '
mount --make-rprivate / && umount /sys/fs/cgroup/memory &&
mount -t cgroup -o memory cgroup /sys/fs/cgroup/memory && exec "$0" "$@"' "$@"
"""
CHILD = """
import json, sys, threading, time
from unlearn_core import RunSpec, RunStore, Worker
from unlearn_core.system.machine.memory import container_memory
from unlearn_core.runs import events as ev
from unlearn_core.jobs import watchdog
watchdog.EVERY = 0.1
target, home = sys.argv[1:]
store = RunStore(home)
worker = Worker(store)
def submit(words, batch_size):
    rows = "\\n".join(f"Who is {n}? => " + f"{n} " * words for n in range(100, 124))
    wanted = {"target": target, "data": "facts:" + rows, "method": "grad_ascent", "steps": 10**5}
    return worker.submit(RunSpec(**wanted, settings={"batch_size": batch_size, "learning_rate": 1e-6}))
def steps(run):
    return sum(isinstance(event, ev.Step) for event in store.read_events(run)[0])
def told(run):
    last = store.read_events(run)[0][-1]
    return container_memory()[1], last.kind, last.message, steps(run)
large = submit(words=60, batch_size=24)
assert worker.wait(large)
run, others, trains = submit(words=6, batch_size=1), [], False
end = time.monotonic() + 120
while time.monotonic() < end and not worker.wait(run, 0.05):
    used, limit = container_memory()
    trains = trains or steps(run) > 0
    if trains and used < 0.93 * limit:
        more = 2**24 if used < 0.8 * limit else 2**22
        others.append(bytearray(b"x" * more))  # somebody else in the container takes more, and keeps it
assert worker.wait(run)
print(json.dumps([told(large), told(run)]))
worker.close()
"""
Told = tuple[int, str, str, int]


@pytest.fixture(scope="module")
def container() -> Iterator[Path]:
    """A group of processes that may take `LIMIT` together."""
    group = CONTROLLER / f"lethe-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(LIMIT))
    except OSError:
        pytest.skip("this account may not limit memory by the first version of cgroups")
    yield group
    group.rmdir()


@pytest.fixture(scope="module")
def ends(
    container: Path, saved_model: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Told, Told]:
    """Of a run that does not fit and of one that is left too little: the limit that it saw, the kind and words of its
    end, and its steps. The model has small weights, and activations of some gigabytes for the batch of the first."""
    given = [saved_model(intermediate_size=16384), str(tmp_path_factory.mktemp("contained"))]
    enter = ["sh", "-c", ENTER, str(container), sys.executable, "-c", CHILD, *given]
    done = subprocess.run(enter, capture_output=True, text=True, timeout=300, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this account may not make a container")
    assert done.returncode == 0, done.stderr
    counted = dict(line.split() for line in (container / "memory.oom_control").read_text().splitlines())
    assert counted["oom_kill"] == "0"
    large, grown = json.loads(done.stdout.splitlines()[-1])
    return large, grown


def test_a_run_that_does_not_fit_is_refused_before_it_trains(ends: tuple[Told, Told]) -> None:
    limit, kind, message, steps = ends[0]
    assert limit == LIMIT
    assert (kind, steps) == ("out_of_memory", 0)
    assert "GB are free. Use a smaller batch size" in message


def test_a_run_ends_when_others_fill_the_container(ends: tuple[Told, Told]) -> None:
    _, kind, message, steps = ends[1]
    assert kind == "out_of_memory"
    assert "nearly used up" in message
    assert steps > 0
