"""The worker: first come, first served; stops at once; nobody stops another's run; nothing kills it."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from waiting import until

from unlearn_core.errors import InputError, ResourceError
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import disk_errors

SPEC = RunSpec(method="npo")
DONE = ev.Finished({"label": "forgotten"}, {})


class Steps:
    """A runner of many short steps that counts how often it was closed, and steps after a cancel."""

    def __init__(self, num_steps: int = 100_000, seconds: float = 0.005) -> None:
        self.num_steps, self.seconds = num_steps, seconds
        self.active = self.most_active = self.closed = self.after_cancel = 0

    def __call__(self, spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        self.active += 1
        self.most_active = max(self.most_active, self.active)
        try:
            yield ev.RunStarted(spec.to_json(), ("unlearn",), self.num_steps, "cpu")
            for step in range(1, self.num_steps + 1):
                if options["control"].finishing:
                    break
                time.sleep(self.seconds)
                self.after_cancel += options["control"].cancelled
                yield ev.Step(step, self.num_steps, {"total": 0.0}, 1e-3, 0.0, 0.0, 0.0)
            yield DONE
        finally:
            self.active -= 1
            self.closed += 1


def steps_of(store: RunStore, run_id: str) -> int:
    return sum(isinstance(event, ev.Step) for event in store.read_events(run_id)[0])


def test_runs_go_one_at_a_time_in_the_order_they_came(store: RunStore) -> None:
    runner = Steps(num_steps=3)
    worker = Worker(store, runner=runner)
    ids = [worker.submit(SPEC) for _ in range(4)]
    assert [worker.position(run_id) for run_id in ids][-1] is not None
    assert worker.wait(ids[-1])
    records = [store.get(run_id) for run_id in ids]
    assert [record.status for record in records] == ["finished"] * 4
    started = [record.started or 0 for record in records]
    assert started == sorted(started)
    assert runner.most_active == 1
    worker.close()


def test_a_cancel_stops_within_two_steps(store: RunStore) -> None:
    runner = Steps()
    worker = Worker(store, runner=runner)
    run_id = worker.submit(SPEC, owner="me")
    until(lambda: steps_of(store, run_id) >= 3)
    worker.cancel(run_id, owner="me")
    assert worker.wait(run_id)
    assert store.get(run_id).status == "cancelled"
    assert (runner.after_cancel <= 2, runner.closed) == (True, 1)
    worker.close()


def test_two_visitors_cannot_stop_each_others_run(store: RunStore) -> None:
    worker = Worker(store, runner=Steps())
    run_id = worker.submit(SPEC, owner="me")
    for stranger in (None, "", "you"):
        for call in (worker.cancel, worker.finish_early, store.delete):
            with pytest.raises(InputError, match="not a run that is here for you"):
                call(run_id, stranger)
    seen = steps_of(store, run_id)
    until(lambda: steps_of(store, run_id) > seen + 3)  # it goes on
    worker.cancel(run_id, "me")
    assert worker.wait(run_id)
    worker.close()


def test_a_waiting_run_is_cancelled_without_starting(store: RunStore) -> None:
    worker = Worker(store, runner=Steps())
    first, second, third = (worker.submit(SPEC) for _ in range(3))
    until(lambda: worker.current == first)
    assert (worker.position(first), worker.position(second), worker.position(third)) == (0, 1, 2)
    worker.cancel(second)
    assert store.get(second).status == "cancelled"
    assert worker.position(third) == 1
    worker.close()


def test_who_waits_is_told_how_long(store: RunStore) -> None:
    def runner(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        yield ev.StageProgress("unlearn", 0, 1, seconds_left=40.0)
        while not options["control"].finishing and not options["control"].cancelled:
            time.sleep(0.005)
            yield ev.Warned("at work")
        yield ev.Finished({"label": "forgotten"}, {"unlearn": 20.0})

    worker = Worker(store, runner=runner)
    first = worker.submit(SPEC)
    until(lambda: worker.current == first)
    unknown, after_it = worker.submit(SPEC), worker.submit(SPEC)
    until(lambda: worker.seconds_until(unknown) is not None)
    assert 0 < (worker.seconds_until(unknown) or 0) <= 40
    assert worker.seconds_until(after_it) is None  # nobody knows yet how long such a run takes
    assert worker.seconds_until(first) is None
    worker.finish_early(first)
    until(lambda: worker.current == unknown and store.get(first).status == "finished")
    known, last = worker.submit(SPEC), worker.submit(SPEC)  # 40 s of the one at work, 20 s of each other
    worker.cancel(after_it)
    until(lambda: worker.seconds_until(known) is not None)
    assert 20 < (worker.seconds_until(last) or 0) <= 60
    worker.close()


def test_finish_early_keeps_what_there_is(store: RunStore) -> None:
    worker = Worker(store, runner=Steps())
    run_id = worker.submit(SPEC)
    until(lambda: steps_of(store, run_id) >= 1)
    worker.finish_early(run_id)
    assert worker.wait(run_id)
    assert store.get(run_id).status == "finished"
    worker.close()


def test_a_double_click_starts_one_run(store: RunStore) -> None:
    worker = Worker(store, runner=Steps(num_steps=1))
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(worker.submit(SPEC, "me", key="click"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1
    assert worker.submit(SPEC, "you", key="click") not in ids
    worker.close()


def test_the_queue_is_bounded_and_says_so(store: RunStore) -> None:
    worker = Worker(store, capacity=2, per_owner=2, runner=Steps())
    first = worker.submit(SPEC)
    until(lambda: worker.current == first)
    worker.submit(SPEC, "me")
    worker.submit(SPEC, "you")
    with pytest.raises(ResourceError, match=r"queue .* is full"):
        worker.submit(SPEC)
    worker.capacity = 9
    worker.submit(SPEC, "me")
    with pytest.raises(InputError, match="of yours is under way"):
        worker.submit(SPEC, "me")
    worker.close()


def test_a_run_that_is_over_stands_in_nobodys_way_while_it_is_tidied_up(store: RunStore) -> None:
    tidied = threading.Event()

    def slow_to_leave(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        try:
            yield DONE
        finally:
            tidied.wait()

    worker = Worker(store, per_owner=1, runner=slow_to_leave)
    first = worker.submit(SPEC, "me")
    until(lambda: store.get(first).status == "finished")
    second = worker.submit(SPEC, "me")  # the page says that the first has finished
    assert worker.position(second) == 1
    with pytest.raises(InputError, match="of yours is under way"):
        worker.submit(SPEC, "me")
    tidied.set()
    assert worker.wait(second)
    worker.close()


@pytest.mark.parametrize("spec", [RunSpec(method="magic"), RunSpec(method="npo", settings={"beta": -1.0})])
def test_a_spec_that_cannot_work_is_refused_before_it_is_queued(store: RunStore, spec: RunSpec) -> None:
    worker = Worker(store, runner=Steps())
    with pytest.raises(InputError):
        worker.submit(spec)
    assert store.list_runs() == []
    worker.close()


def test_among_strangers_runs_are_short_on_the_bundled_model_and_nobody_elses(store: RunStore) -> None:
    worker = Worker(store, public=True, runner=Steps())
    for spec in (RunSpec(method="npo", target="/etc"), RunSpec(method="npo", steps=100_000)):
        with pytest.raises(InputError):
            worker.submit(spec)
    with pytest.raises(InputError, match="random characters"):
        worker.submit(SPEC)
    run_id = worker.submit(SPEC, "a secret that nobody guesses")
    with pytest.raises(InputError, match="not a run that is here for you"):
        worker.cancel(run_id, None)
    worker.close()


def test_the_worker_survives_any_error_and_takes_the_next_run(store: RunStore) -> None:
    errors: list[BaseException | None] = [
        ValueError("secret detail"),
        MemoryError(),
        OSError(28, "No space left on device"),
        SystemExit(1),
        InputError("data", "x", "is missing", "Give it."),
        None,
    ]

    def runner(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted({}, (), 1, "cpu")
        error = errors.pop(0)
        if error is not None:
            raise error
        yield DONE

    worker = Worker(store, runner=runner)
    ids = [worker.submit(SPEC) for _ in range(6)]
    assert worker.wait(ids[-1])
    ends = [store.read_events(run_id)[0][-1] for run_id in ids]
    kinds = [end.kind if isinstance(end, ev.Failed) else "finished" for end in ends]
    assert kinds == ["error", "out_of_memory", "disk_full", "error", "error", "finished"]
    assert "secret" not in store.get(ids[0]).message
    reference = store.get(ids[0]).message.split()[-1].rstrip(".")
    log = (store.home / "log" / "lethe.log").read_text()
    assert reference in log
    assert "secret detail" in log
    assert store.get(ids[4]).message == "Data x is missing. Give it."
    worker.close()


def test_an_end_that_a_full_disk_refused_is_recorded_later(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk fills up during the first run and has room again when the second ends."""
    full = True
    append = store.append

    def sometimes(run_id: str, event: ev.Event) -> RunState:
        with disk_errors(store.home):
            if full and not isinstance(event, ev.RunStarted):
                raise OSError(28, "No space left on device")
        return append(run_id, event)

    monkeypatch.setattr(store, "append", sometimes)
    worker = Worker(store, runner=Steps(num_steps=1))
    first = worker.submit(SPEC)
    assert worker.wait(first)
    full = False
    second = worker.submit(SPEC)
    assert worker.wait(second)
    assert store.get(second).status == "finished"
    worker.cancel(worker.submit(SPEC))
    worker.close()
    assert store.get(first).message.startswith("Disk ")


def test_closing_marks_runs_interrupted_and_takes_no_more(store: RunStore) -> None:
    worker = Worker(store, runner=Steps())
    running, waiting = worker.submit(SPEC), worker.submit(SPEC)
    until(lambda: steps_of(store, running) >= 1)
    worker.close()
    assert [store.get(run_id).status for run_id in (running, waiting)] == ["interrupted"] * 2
    with pytest.raises(ResourceError, match="shutting down"):
        worker.submit(SPEC)


def test_the_submitters_context_reaches_the_run(store: RunStore) -> None:
    visitor: contextvars.ContextVar[str] = contextvars.ContextVar("visitor", default="nobody")
    seen: list[str] = []

    def runner(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        seen.append(visitor.get())
        yield DONE

    worker = Worker(store, runner=runner)
    visitor.set("ada")
    assert worker.wait(worker.submit(SPEC))
    assert seen == ["ada"]
    worker.close()


def test_a_strangers_run_is_held_to_its_time(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
        yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
        while spec.seed or not options["control"].finishing:  # seed 1 does not listen
            yield ev.StageProgress("unlearn", 0, 1)
            time.sleep(0.01)
        yield ev.Finished({"label": "unchanged"}, {})

    monkeypatch.setattr("unlearn_core.jobs.executor.RUN_SECONDS", 0.2)
    owner = "a secret that nobody guesses"
    worker = Worker(store, public=True, runner=slow)
    ended_early, stopped = (worker.submit(RunSpec(method="npo", seed=seed), owner) for seed in (0, 1))
    for run_id in (ended_early, stopped):
        assert worker.wait(run_id)
    assert store.get(ended_early).status == "finished"
    assert any(isinstance(event, ev.Warned) for event in store.read_events(ended_early)[0])
    assert store.get(stopped).status == "failed"
    assert "takes longer than a run may here" in store.get(stopped).message
    worker.close()
