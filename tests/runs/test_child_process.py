"""Runs in a process apart: the same events, the same buttons, and nothing left when either side dies."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from waiting import until

from unlearn_core.errors import InputError
from unlearn_core.jobs import watchdog
from unlearn_core.jobs.child_process import ChildProcess
from unlearn_core.jobs.job import audits_of
from unlearn_core.jobs.warm_cache import prescore
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.run import run
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

pytestmark = pytest.mark.slow

LONG = 100_000


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChildProcess]:
    made = ChildProcess(tmp_path_factory.mktemp("apart"))
    yield made
    made.close()


@pytest.fixture
def worker(apart: ChildProcess, tmp_path: Path) -> Iterator[Worker]:
    made = Worker(RunStore(tmp_path), apart=apart)
    yield made
    made._apart = None  # the module's other tests go on with it
    made.close()


def spec_of(memorised: Any, steps: int) -> RunSpec:
    return RunSpec(target=memorised.model, data=memorised.data, method="npo", steps=steps)


def until_it_trains(worker: Worker, run_id: str) -> None:
    until(lambda: any(isinstance(event, ev.Step) for event in worker.store.read_events(run_id)[0]))


def test_the_same_run_happens_there_as_here(apart: ChildProcess, memorised: Any, tmp_path: Path) -> None:
    spec = spec_of(memorised, 3)
    there = list(apart.iterate(run, spec, home=tmp_path / "there"))
    here = list(run(spec, home=tmp_path / "here"))

    def steps(events: list[Any]) -> list[tuple[Any, ...]]:
        found = [event for event in events if isinstance(event, ev.Step)]
        return [(step.step, step.losses, step.gradient_norm, step.learning_rate) for step in found]

    assert len(steps(here)) == 3
    assert steps(there) == steps(here)
    assert isinstance(there[-1], ev.Finished)


def test_every_button_reaches_the_run(worker: Worker, memorised: Any) -> None:
    stopped = worker.submit(spec_of(memorised, LONG))
    until_it_trains(worker, stopped)
    worker.cancel(stopped)
    ended = worker.submit(spec_of(memorised, LONG))
    until_it_trains(worker, ended)
    worker.finish_early(ended)
    assert worker.wait(ended)
    found = [worker.store.get(run_id) for run_id in (stopped, ended)]
    assert [record.status for record in found] == ["cancelled", "finished"]
    assert found[1].scores["unlearned"]


def test_a_kill_interrupts_the_run_and_the_next_one_starts_anew(worker: Worker, memorised: Any) -> None:
    run_id = worker.submit(spec_of(memorised, LONG))
    until_it_trains(worker, run_id)
    assert worker._apart is not None
    assert worker._apart._child is not None
    worker._apart._child.kill()
    assert worker.wait(run_id)
    assert worker.store.get(run_id).status == "interrupted"
    assert "memory" in worker.store.get(run_id).message
    again = worker.submit(spec_of(memorised, 1))
    assert worker.wait(again)
    assert worker.store.get(again).status == "finished"


def test_what_is_raised_there_is_raised_here(apart: ChildProcess, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run that is here"):
        list(apart.iterate(audits_of, "no-such-run", tmp_path, None, public=False))
    with pytest.raises(RuntimeError, match="TypeError"):
        list(apart.iterate(prescore, None))


def test_it_ends_with_the_process_that_gives_the_orders(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from unlearn_core.jobs.child_process import ChildProcess\n"
        f"apart = ChildProcess(Path({str(tmp_path)!r})); apart.start()\n"
        "print(apart._child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    child.wait(60)
    assert not child.is_running()


def test_a_process_that_hangs_is_ended_and_its_run_can_be_resumed(
    worker: Worker, memorised: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = worker.submit(spec_of(memorised, LONG))
    until_it_trains(worker, run_id)
    child = worker._apart._child if worker._apart else None
    assert child is not None
    monkeypatch.setattr(watchdog, "SILENCE", {False: 1.0})
    child.send_signal(signal.SIGSTOP)
    assert worker.wait(run_id)
    record = worker.store.get(run_id)
    assert record.status == "interrupted"
    assert "no sign of life" in record.message
    assert child.poll() is not None
    assert worker.alive
