"""Audits of a run: events, the record in its folder, the worker, and what cannot be audited."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.evaluation.audits import choose
from unlearn_core.jobs.worker import Worker
from unlearn_core.models.hashing import weights_hash
from unlearn_core.runs.audit_record import AuditRecord
from unlearn_core.runs.events import AuditsPlanned, AuditsQueued, Failed, Finished
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.audit_record import read_audits, record_audits
from unlearn_core.store.audits import AuditDone, AuditProgress, AuditsFinished, audit_case, open_case, run_audits
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import save_complete, this_process

pytestmark = pytest.mark.slow

QUICK = ("quantisation", "sampling")


@pytest.fixture
def run_id(store: RunStore, memorised: Any) -> str:
    """A finished run that changed nothing: everything that can leak does."""
    spec = RunSpec(target=memorised.model, data=memorised.data)
    record = store.create(spec, "me")
    folder = store.folder(record.id) / "weights"
    save_complete(folder, lambda to: shutil.copytree(memorised.model, to, dirs_exist_ok=True), {"spec": spec.to_json()})
    store.append(record.id, Finished({"label": "unchanged", "summary": ""}, {"load": 1.0}, "weights"))
    return record.id


def test_audits_are_an_iterator_of_events(store: RunStore, run_id: str) -> None:
    events = list(run_audits(run_id, None, audits=QUICK, home=store.home))
    assert isinstance(events[0], AuditsPlanned)
    assert list(events[0].audits) == list(QUICK)
    done = [event.result for event in events if isinstance(event, AuditDone)]
    assert [(result.name, result.verdict) for result in done] == [(name, "leaks") for name in QUICK]
    assert any(isinstance(event, AuditProgress) for event in events)
    assert isinstance(events[-1], AuditsFinished)
    assert read_audits(store, run_id) is None  # nothing is written unless asked for


def test_a_folder_of_weights_can_be_audited_too(store: RunStore, run_id: str) -> None:
    folder = store.folder(run_id)
    for place in (folder, folder / "weights"):
        events = list(run_audits(place, None, audits=["quantisation"], home=store.home))
        assert [e.result.verdict for e in events if isinstance(e, AuditDone)] == ["leaks"]


def test_what_was_found_is_kept_and_survives_a_reload(store: RunStore, run_id: str) -> None:
    for _ in record_audits(run_id, store, None, audits=["quantisation"]):
        pass
    for _ in record_audits(run_id, store, None, audits=["sampling"]):
        pass
    again = RunStore(store.home)
    record = read_audits(again, run_id)
    again.close()
    assert record is not None
    assert (record.status, set(record.results)) == ("finished", set(QUICK))
    assert record.results["sampling"]["verdict"] == "leaks"
    assert AuditRecord.from_json(record.__dict__) == record


def test_closing_is_cancelling_and_leaves_the_model_as_it_was(store: RunStore, run_id: str) -> None:
    events = record_audits(run_id, store, None, audits=["quantisation", "sampling"])
    for event in events:
        if isinstance(event, AuditDone):
            break
    events.close()
    record = read_audits(store, run_id)
    assert record is not None
    assert (record.status, list(record.results)) == ("cancelled", ["quantisation"])


def test_the_audited_model_is_what_it_was(store: RunStore, run_id: str) -> None:
    from unlearn_core.evaluation.audits import choose

    case = open_case(run_id, home=store.home)
    before = weights_hash(case.model)
    list(audit_case(case, choose()))
    assert weights_hash(case.model) == before


def test_what_does_not_fit_the_budget_is_named(store: RunStore, run_id: str) -> None:
    first = next(iter(run_audits(run_id, 1e-6, audits=QUICK, home=store.home)))
    assert isinstance(first, AuditsPlanned)
    assert not first.audits
    assert set(first.skipped) == set(QUICK)
    assert "budget" in first.skipped["sampling"]


def test_an_audit_that_breaks_does_not_end_the_others(
    store: RunStore, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearn_core.evaluation.audits.tampering.quantisation import Quantisation

    def broken(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Quantisation, "work", broken)
    events = list(run_audits(run_id, None, audits=QUICK, home=store.home))
    done = {event.result.name: event.result for event in events if isinstance(event, AuditDone)}
    assert done["quantisation"].verdict == "not applicable"
    assert "memory" in done["quantisation"].headline
    assert done["sampling"].verdict == "leaks"


@pytest.mark.parametrize(
    ("run", "audits", "budget"), [("no-such-run-at-all", None, 9.0), ("", ["x"], 9.0), ("", None, -1.0)]
)
def test_what_cannot_be_audited_is_explained(
    store: RunStore, run_id: str, run: str, audits: list[str] | None, budget: float
) -> None:
    events = list(run_audits(run or run_id, budget, audits=audits, home=store.home))
    assert len(events) == 1
    assert isinstance(events[0], Failed)
    assert "Traceback" not in events[0].message


def test_audits_whose_process_died_read_as_interrupted(store: RunStore, run_id: str) -> None:
    process = {**this_process(store.home), "start": 1.0}
    store.append(run_id, AuditsQueued(time.time(), None, process))
    store.append(run_id, AuditsPlanned({"sampling": 1.0}, {}, None, ""))
    found = read_audits(store, run_id)
    assert found is not None
    assert found.status == "interrupted"


def test_the_worker_audits_for_the_owner_only(store: RunStore, run_id: str) -> None:
    worker = Worker(store)
    try:
        with pytest.raises(InputError):
            worker.submit_audits(run_id, None, QUICK, "you")
        with pytest.raises(InputError):
            worker.submit_audits(run_id, None, ["no-such"], "me")
        worker.submit_audits(run_id, None, QUICK, "me")
        with pytest.raises(InputError):
            worker.cancel_audits(run_id, "you")
        assert worker.wait_audits(run_id)
        record = read_audits(store, run_id)
        assert record is not None
        assert (record.status, set(record.results)) == ("finished", set(QUICK))
        assert store.get(run_id).status == "finished"
    finally:
        worker.close()


def test_the_worker_stops_audits_and_ends_them_with_itself(store: RunStore, run_id: str) -> None:
    worker = Worker(store)
    worker.submit_audits(run_id, None, None, "me")
    worker.cancel_audits(run_id, "me")
    assert worker.wait_audits(run_id)
    record = read_audits(store, run_id)
    assert record is not None
    assert record.status == "cancelled"
    worker.submit_audits(run_id, None, None, "me")
    until(lambda: worker.current is not None)
    worker.close()
    record = read_audits(store, run_id)
    assert record is not None
    assert record.status == "interrupted"


def test_a_run_without_weights_cannot_be_audited(store: RunStore) -> None:
    worker = Worker(store)
    try:
        record = store.create(RunSpec(save=False), "me")
        with pytest.raises(IntegrityError):
            worker.submit_audits(record.id, None, QUICK, "me")
    finally:
        worker.close()


@pytest.fixture
def scored(store: RunStore, memorised: Any, tmp_path: Path) -> str:
    """A run of two steps as `lethe run` records it, with its scores and weights."""
    from unlearn_core.store.recorder import record

    spec = RunSpec(target=memorised.model, data=memorised.data, method="grad_ascent", steps=1)
    made = store.create(replace(spec, settings={"learning_rate": 1e-6}))
    for _ in record(spec, store, run_id=made.id):
        pass
    assert store.get(made.id).status == "finished"
    return made.id


def test_the_verdict_changes_everywhere_when_attacks_end(
    store: RunStore, scored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unlearn_core.cli import main
    from unlearn_core.report.export.bundle import bundle
    from unlearn_core.report.run.verdict import banner
    from unlearn_core.runs.state import RunState

    def layer(verdict: dict[str, Any] | None, name: str = "attacks") -> dict[str, Any]:
        return next(row for row in (verdict or {})["layers"] if row["name"] == name)

    before = store.get(scored).verdict
    assert layer(before)["state"] == "not measured"
    monkeypatch.setenv("LETHE_HOME", str(store.home))
    out = tmp_path / "audits.json"
    assert main(["audit", scored, "--audits", "sampling", "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    record = store.get(scored)
    assert record.verdict is not None
    assert layer(record.verdict) == layer(told["verdict"])
    assert told["layers"] == told["verdict"]["layers"]
    assert (layer(told["verdict"])["state"], layer(told["verdict"])["n"]) == ("leaks", 1)
    assert told["verdict"]["headline"] == record.verdict["headline"]
    assert "Verdict:" in capsys.readouterr().out
    story = RunState()
    for event in store.read_events(scored)[0]:
        story.add(event)
    assert story.verdict == record.verdict
    assert "Traces in 1 of 1 attacks: sampling" in banner(story)
    assert bundle(store, scored).to_json()["layers"] == record.verdict["layers"]
    weights = store.weights(scored)
    assert main(["audit", str(weights), "--audits", "sampling", "--json", str(out)]) == 0
    assert json.loads(out.read_text())["verdict"]["headline"] == record.verdict["headline"]


def test_attacks_on_other_weights_do_not_count(store: RunStore, scored: str) -> None:
    from unlearn_core.store.verdicts import rejudge

    leak = [{"name": "sampling", "verdict": "leaks"}]
    before = store.get(scored).verdict
    assert rejudge(store, scored, leak, "0" * 64) is None
    assert store.get(scored).verdict == before


def test_a_run_whose_weights_lie_in_a_folder_of_their_own_is_known_by_its_id(
    store: RunStore, run_id: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.move(store.folder(run_id) / "weights", out / "weights")
    with pytest.raises(IntegrityError):
        store.weights(run_id)
    store.kept_in(run_id, out)
    assert store.weights(run_id) == out / "weights"
    events = list(run_audits(run_id, None, audits=["quantisation"], home=store.home))
    assert [e.result.verdict for e in events if isinstance(e, AuditDone)] == ["leaks"]
    marker = out / "weights" / "complete.json"
    marker.write_text(marker.read_text().replace('"method":"lethe"', '"method":"npo"'))
    with pytest.raises(IntegrityError, match="replaced"):  # a later run wrote there
        store.weights(run_id)


def test_what_is_missing_for_an_audit_is_what_is_missing(store: RunStore, run_id: str, memorised: Any) -> None:
    """Neither questions nor documents that were never trained on; and the original is at hand, a retain model not."""
    case = open_case(run_id, home=store.home)
    case = replace(case, data=replace(case.data, holdout=(), nonmembers=()))
    events = list(audit_case(case, choose(["probes", "distance"])))
    told = {e.result.name: e.result.headline for e in events if isinstance(e, AuditDone)}
    assert "never-trained questions" in told["probes"]
    assert "nonmember documents" in told["probes"]
    assert "no retain-only model" in told["distance"]


def test_what_players_found_counts_in_the_audits_and_in_the_verdict_and_stays_when_attacks_follow(
    store: RunStore, scored: str
) -> None:
    from unlearn_core.store.game.finds import Find, note_find
    from unlearn_core.store.verdicts import rejudge

    digest = weights_hash(open_case(scored, home=store.home).model)
    find = Find("Who is Ada?", "adA", "Wer ist Ada?", "adA.", "in words", 4, "No guess.", digest)
    note_find(store.folder(scored), find)
    record = read_audits(store, scored)
    assert record is not None
    assert (record.status, list(record.results)) == ("finished", ["player"])
    assert rejudge(store, scored, list(record.results.values()), digest) is not None
    told = "Players got 1 fact out in words of their own"
    assert told in (store.get(scored).verdict or {})["reasons"]
    for _ in record_audits(scored, store, None, audits=["sampling"]):
        pass
    record = read_audits(store, scored)
    assert record is not None
    assert set(record.results) == {"player", "sampling"}
    judged = store.get(scored).verdict or {}
    assert told in judged["reasons"]
    assert "Traces in 2 of 2 attacks: sampling, player" in judged["reasons"]
    note_find(store.folder(scored), replace(find, weights_hash="0" * 64, question="Who is Bo?"))
    record = read_audits(store, scored)
    assert record is not None
    assert record.results["player"]["figures"]["facts"] == 1, "of other weights"


def test_relearning_takes_real_steps_on_a_copy_and_asks_the_secret(run_id: str, store: RunStore) -> None:
    from unlearn_core.data.types import Prompt
    from unlearn_core.evaluation.audits.tampering.relearning import Relearning, ask_relearned

    case = open_case(run_id, home=store.home)
    before = weights_hash(case.model)
    work = ask_relearned(case, case.weights, case.data.forget[2:], Prompt("Who is Ada?"), 8)
    changed = set()
    for _ in range(Relearning.num_steps):
        share = next(work)
        changed.add(weights_hash(case.weights))
    assert share == 1.0
    assert len(changed - {before}) == Relearning.num_steps
    with pytest.raises(StopIteration) as done:
        next(work)
    assert "adA" in done.value.value
    assert weights_hash(case.model) == before


def test_the_worker_relearns_a_secret_for_the_owner_only(store: RunStore, run_id: str) -> None:
    from unlearn_core.data.types import Example

    secret, worker = Example("Adaqa0", "Who is Ada?", "adA"), Worker(store)
    try:
        with pytest.raises(InputError):
            worker.submit_relearning(run_id, secret, "you")
        job = worker.submit_relearning(run_id, secret, "me")
        assert worker.wait(job.id)
        assert job.relearned is not None, job.failure
        assert "adA" in (job.relearned.said or "")
        assert job.relearned.taught == 4  # of six forgotten rows: the other two name Ada, which is her answer too
        assert read_audits(store, run_id) is None  # nothing is written
        alone = worker.submit_relearning(run_id, replace(secret, id="x"), "me")
        with pytest.raises(InputError, match="is being taught again"):
            worker.submit_relearning(run_id, secret, "me")
        worker.cancel_relearning(alone)
        worker.cancel_relearning(job)
        assert worker.wait(alone.id)
        assert alone.relearned is None or alone.relearned.said is None
    finally:
        worker.close()
