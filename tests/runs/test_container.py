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
target, home, grows = sys.argv[1:]
words = 6 if grows == "1" else 60
rows = "\\n".join(f"Who is {n}? => " + f"{n} " * words for n in range(100, 124))
store = RunStore(home)
worker = Worker(store)
def submit(**changes):
    wanted = {"target": target, "data": "facts:" + rows, "method": "grad_ascent", "steps": 10**5}
    settings = {"batch_size": 24, "learning_rate": 1e-6, **changes}
    return worker.submit(RunSpec(**wanted, settings=settings))
run, others = submit(batch_size=1) if grows == "1" else submit(), []
end = time.monotonic() + 120
while grows == "1" and time.monotonic() < end and not worker.wait(run, 0.05):
    used, limit = container_memory()
    if used < 0.93 * limit and any(isinstance(event, ev.Step) for event in store.read_events(run)[0]):
        others.append(bytearray(b"x" * 2**22))  # somebody else in the container takes more, and keeps it
assert worker.wait(run)
last = store.read_events(run)[0][-1]
steps = sum(isinstance(event, ev.Step) for event in store.read_events(run)[0])
print(json.dumps([container_memory()[1], last.kind, last.message, steps]))
worker.close()
"""


@pytest.fixture
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
def wide_model(saved_model: Callable[..., str]) -> str:
    """Small weights, and activations of some gigabytes for the batch of the test."""
    return saved_model(intermediate_size=16384)


def end_in(container: Path, *given: str) -> tuple[int, str, str, int]:
    """The limit that the run saw, the kind and words of its end, and its steps."""
    enter = ["sh", "-c", ENTER, str(container), sys.executable, "-c", CHILD, *given]
    done = subprocess.run(enter, capture_output=True, text=True, timeout=300, check=False)
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this account may not make a container")
    assert done.returncode == 0, done.stderr
    counted = dict(line.split() for line in (container / "memory.oom_control").read_text().splitlines())
    assert counted["oom_kill"] == "0"
    limit, kind, message, steps = json.loads(done.stdout.splitlines()[-1])
    return limit, kind, message, steps


def test_a_run_that_does_not_fit_is_refused_before_it_trains(container: Path, wide_model: str, tmp_path: Path) -> None:
    limit, kind, message, steps = end_in(container, wide_model, str(tmp_path), "0")
    assert limit == LIMIT
    assert (kind, steps) == ("out_of_memory", 0)
    assert "GB are free. Use a smaller batch size" in message


def test_a_run_ends_when_others_fill_the_container(container: Path, wide_model: str, tmp_path: Path) -> None:
    _, kind, message, steps = end_in(container, wide_model, str(tmp_path), "1")
    assert kind == "out_of_memory"
    assert "nearly used up" in message
    assert steps > 0
