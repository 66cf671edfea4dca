"""The one place where events are folded: what a run comes to, and that the store's record is a view of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from unlearn_core.evaluation.audit_result import AuditResult
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.store.audit_record import end_audits, queue_audits, read_audits
from unlearn_core.store.store import RunStore

SPEC = RunSpec(method="npo", seed=3).to_json()
STARTED = ev.RunStarted(SPEC, ("load", "unlearn"), 4, "cpu")
DONE = ev.Finished({"label": "forgotten"}, {"load": 1.0, "unlearn": 2.0}, "weights", cost={"seconds": 3.0})
LEAK = AuditResult("sampling", "leaks", "It is told.", {"forget": 1.0}, ({"said": "Ada"},), 2.0)


def step(number: int) -> ev.Step:
    return ev.Step(number, 4, {"total": 1.0}, 1e-3, 1.0, 10.0, float(number))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    made = RunStore(tmp_path)
    yield made
    made.close()


def test_the_status_follows_the_run_through_an_interruption() -> None:
    state = RunState()
    seen = [state.status]
    killed = ev.Failed("The disk is full.", kind="disk_full")
    for event in (STARTED, step(1), step(2), killed, ev.Resumed(1), STARTED, step(2), ev.Cancelled(2)):
        state.add(event)
        seen.append(state.status)
    assert seen == ["", *["running"] * 3, "interrupted", "queued", "running", "running", "cancelled"]
    assert (state.step, [one.step for one in state.steps], state.failure) == (2, [1, 2], None)


def test_what_is_settled_on_the_way_stands_beside_the_spec() -> None:
    found = ev.SubjectFound({"subject": "Ada"}, "upload:token")
    state = RunState.of([STARTED, ev.PromptChosen("chat", "As a chat.", "..."), found])
    assert state.spec == SPEC
    assert state.settled == {"prompt": "chat", "data": "upload:token", "subject": None, "name": "Ada"}
    assert state.notes == ["As a chat."]


def test_scores_are_told_as_they_came_and_read_when_they_are_asked_for() -> None:
    state = RunState.of([ev.Score("original", {"terms": {"x": 0.5}, "generations": [{"id": "a"}]})])
    assert state.scored == {"original": {"terms": {"x": 0.5}}}
    with pytest.raises(TypeError):  # a part of scores is enough for whoever does not draw them
        _ = state.scores


def test_the_record_says_what_the_events_come_to(store: RunStore) -> None:
    run_id = store.create(RunSpec(method="npo")).id
    events = (
        STARTED,
        ev.PromptChosen("raw", "As they are.", "..."),
        ev.CostEstimate({"seconds": 9.0}),
        ev.Score("original", {"terms": {"x": 0.5}, "generations": [{"id": "a"}]}),
        step(1),
        ev.BestKept(1, 4, 0.9, 0.5),
        DONE,
        ev.Judged({"label": "leaks"}),
    )
    for event in events:
        told = store.append(run_id, event)
    state, record = store.state(run_id), store.get(run_id)
    assert state == told == RunState.of(events)
    assert (record.status, record.num_steps, record.artifact, record.seconds) == (
        state.status,
        4,
        "weights",
        DONE.seconds,
    )
    assert (record.verdict, record.scores) == (state.verdict, state.scored) == ({"label": "leaks"}, state.scored)
    assert record.costs == {"estimated": {"seconds": 9.0}, "measured": {"seconds": 3.0}}
    assert record.spec == {**SPEC, "prompt": "raw"}
    assert record.kept is not None
    assert record.kept["step"] == 1


def test_a_step_and_an_attack_leave_the_record_as_it_is(store: RunStore) -> None:
    run_id = store.create(RunSpec()).id
    store.append(run_id, STARTED)
    written = (store.folder(run_id) / "run.json").stat()
    for event in (step(1), ev.AuditsPlanned({}, {}, None, "hash"), ev.AuditDone(LEAK), ev.AuditsFinished(1.0)):
        store.append(run_id, event)
    assert (store.folder(run_id) / "run.json").stat().st_ino == written.st_ino


def test_an_upload_stays_known_to_the_record_and_unknown_to_the_log(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("{}")
    data = store.keep_upload(tmp_path / "mine.jsonl")
    spec = RunSpec(data=data)
    run_id = store.create(spec).id
    for event in (ev.RunStarted(spec.to_json(), ("load",), 1, "cpu"), ev.PromptChosen("raw", "", "")):
        store.append(run_id, event)
    again = RunStore(store.home)  # as when Lethe is started anew
    for event in (ev.Failed("Stopped.", kind="interrupted"), ev.Resumed(0)):
        again.append(run_id, event)
    assert again.get(run_id).spec["data"] == data
    assert again.state(run_id).spec["data"] == "mine.jsonl"
    again.close()
    found = ev.SubjectFound({"subject": "Ada"}, store.keep_upload(tmp_path / "mine.jsonl"))
    run_id = store.create(RunSpec(subject="Ada")).id
    store.append(run_id, found)
    spec_now = store.get(run_id).spec
    assert (spec_now["data"], spec_now["subject"], spec_now["name"]) == (found.data, None, "Ada")
    assert found.data not in (store.folder(run_id) / "events.jsonl").read_text()


def test_what_another_process_appends_is_taken_in(store: RunStore) -> None:
    run_id = store.create(RunSpec()).id
    for event in (STARTED, DONE):
        store.append(run_id, event)
    other = RunStore(store.home)
    other.append(run_id, ev.Judged({"label": "leaks"}))
    other.close()
    assert store.append(run_id, ev.AuditsPlanned({}, {}, None, "hash")).verdict == {"label": "leaks"}
    assert store.get(run_id).verdict == {"label": "leaks"}


def test_events_of_audits_are_the_same_after_json() -> None:
    events = (
        ev.AuditsQueued(5.0, 90.0, {"pid": 1}),
        ev.AuditsPlanned({"sampling": 2.0}, {"suffix": "No time."}, 90.0, "hash"),
        ev.AuditProgress("sampling", 0.5, 1.0),
        ev.AuditDone(LEAK),
        ev.AuditSkipped("probes", "No time left."),
        ev.AuditsFinished(3.0),
        ev.AuditsStopped("failed", "Broken.", 3.0),
    )
    assert tuple(ev.from_json(json.loads(json.dumps(ev.to_json(event)))) for event in events) == events


def test_audits_are_a_part_of_the_run_and_their_end_is_not_its_end(store: RunStore) -> None:
    run_id = store.create(RunSpec()).id
    for event in (STARTED, DONE):
        store.append(run_id, event)
    queue_audits(store, run_id, 90.0)
    store.append(run_id, ev.AuditsPlanned({"sampling": 2.0, "probes": 1.0}, {}, 90.0, "hash"))
    store.append(run_id, ev.AuditProgress("sampling", 0.5, -1.0))
    found = read_audits(store, run_id)
    assert found is not None
    assert (found.status, found.at, found.fraction, found.seconds_left) == ("running", "sampling", 0.5, 0.0)
    store.append(run_id, ev.AuditDone(LEAK))
    end_audits(store, run_id, ev.Failed("No memory.", kind="out_of_memory"))
    state = store.state(run_id)
    assert (state.status, state.end, state.num_events) == ("finished", DONE, 2)
    assert state.audits is not None
    assert (state.audits.status, state.audits.message, state.audits.done) == ("failed", "No memory.", ("sampling",))
    assert state.audits.results == {"sampling": LEAK.to_json()}
    assert store.get(run_id).status == "finished"


def test_results_stay_until_other_weights_are_audited() -> None:
    state = RunState.of([ev.AuditsPlanned({}, {}, None, "hash"), ev.AuditDone(LEAK), ev.AuditsFinished(1.0)])
    for digest, kept in (("hash", ["sampling"]), ("other", [])):
        state.add(ev.AuditsQueued(1.0, None))
        assert state.audits is not None
        assert (state.audits.status, state.audits.done, list(state.audits.results)) == ("queued", (), ["sampling"])
        state.add(ev.AuditsPlanned({}, {}, None, digest))
        assert list(state.audits.results) == kept


def test_audits_that_an_earlier_version_recorded_are_where_the_fold_begins(store: RunStore) -> None:
    run_id = store.create(RunSpec()).id
    earlier = {"status": "finished", "weights_hash": "hash", "results": {"probes": {"name": "probes"}}, "done": []}
    (store.folder(run_id) / "audits.json").write_text(json.dumps(earlier))
    found = read_audits(store, run_id)
    assert found is not None
    assert (found.status, list(found.results)) == ("finished", ["probes"])
    for event in (ev.AuditsPlanned({}, {}, None, "hash"), ev.AuditDone(LEAK), ev.AuditsFinished(1.0)):
        store.append(run_id, event)
    found = read_audits(store, run_id)
    assert found is not None
    assert list(found.results) == ["probes", "sampling"]
    assert json.loads((store.folder(run_id) / "audits.json").read_text()) == earlier
