"""The worker dies, hangs, or runs out of memory: it is noticed, the run is marked, the queue goes on."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core.jobs import watchdog
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system.machine import memory

SPEC = RunSpec(method="npo")
DONE = ev.Finished({"label": "forgotten"}, {})


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "EVERY", 0.02)


class Die(BaseException):
    """What no handler expects."""


def quick(spec: RunSpec, **_: Any) -> Iterator[ev.Event]:
    yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
    yield DONE


def finishes(worker: Worker, run_id: str) -> bool:
    return worker.wait(run_id) and worker.store.get(run_id).status == "finished"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_dies_is_replaced_and_its_run_can_be_resumed(tmp_path: Path) -> None:
    """The thread is made to raise in the middle of a run, and again in the handler of that."""
    store = RunStore(tmp_path)
    begun = threading.Event()

    def dies(spec: RunSpec, **rest: Any) -> Iterator[ev.Event]:
        if spec.name == "dies":
            yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
            begun.set()
            while True:
                time.sleep(0.005)
        yield from quick(spec, **rest)

    worker = Worker(store, runner=dies)
    first = worker._thread
    dying, following = worker.submit(RunSpec(name="dies")), worker.submit(SPEC)
    assert begun.wait()
    note, worker.ends.note = worker.ends.note, lambda job, event: raise_(Die())  # type: ignore[method-assign]
    assert first.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(first.ident), ctypes.py_object(Die))
    first.join()
    worker.ends.note = note  # type: ignore[method-assign]
    assert not first.is_alive()
    assert finishes(worker, following)
    assert worker._thread is not first
    # The next run may end before the watchdog has written down the end of this one.
    until(lambda: store.get(dying).status != "running")
    record = store.get(dying)
    assert record.status == "interrupted"
    assert "stopped" in record.message
    assert "Resume it" in record.message
    worker.close()


def raise_(error: BaseException) -> None:
    raise error


def test_a_run_that_gives_no_sign_is_given_up_and_what_it_says_later_is_not_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "SILENCE", {False: 0.3})
    store, goes_on = RunStore(tmp_path), threading.Event()

    def hangs(spec: RunSpec, **rest: Any) -> Iterator[ev.Event]:
        if spec.name == "hangs":
            yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
            goes_on.wait()
        yield from quick(spec, **rest)

    worker = Worker(store, runner=hangs)
    first = worker._thread
    hanging, following = worker.submit(RunSpec(name="hangs")), worker.submit(SPEC)
    assert finishes(worker, following)
    assert store.get(hanging).status == "interrupted"
    assert "no sign of life" in store.get(hanging).message
    heard = store.read_events(hanging)[0]
    goes_on.set()
    first.join()
    assert not first.is_alive()  # it takes no further run
    assert store.read_events(hanging)[0] == heard
    worker.close()


def test_a_run_ends_before_the_container_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is read from files like a container's."""
    root = tmp_path / "cgroup"
    root.mkdir()
    for name, text in (("memory.max", "1000000"), ("memory.current", "990000")):
        (root / name).write_text(text)
    (root / "memory.stat").write_text("anon 1\ninactive_file 900000\n")
    monkeypatch.setattr(memory, "ROOT", root)
    assert memory.container_memory() == (90_000, 1_000_000)  # the files' cache is given back when needed
    store = RunStore(tmp_path / "home")

    def long(spec: RunSpec, **rest: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), ("unlearn",), 10**6, "cpu")
        for step in range(10**6):
            if spec.name != "grows":
                break
            if step == 3:
                (root / "memory.stat").write_text("anon 990000\ninactive_file 0\n")
            time.sleep(0.005)
            yield ev.Step(step, 10**6, {"total": 0.0}, 1e-3, 0.0, 0.0, 0.0)
        yield DONE

    worker = Worker(store, runner=long)
    run_id = worker.submit(RunSpec(name="grows"))
    assert worker.wait(run_id)
    last = store.read_events(run_id)[0][-1]
    assert isinstance(last, ev.Failed)
    assert last.kind == "out_of_memory"
    assert "batch_size" in last.message
    (root / "memory.stat").write_text("inactive_file 990000\n")
    assert finishes(worker, worker.submit(SPEC))
    worker.close()


def test_an_end_that_could_not_be_written_is_written_when_there_is_room(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    worker = Worker(store, runner=quick)
    run = store.create(SPEC)
    worker.ends._waiting.append((run.id, DONE))
    until(lambda: not len(worker.ends))  # it is written down first, and only then taken off the list
    assert store.get(run.id).status == "finished"
    worker.close()
