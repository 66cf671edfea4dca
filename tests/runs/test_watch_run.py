"""Canaries in whole runs: the events, stopping with the best weights, and what the record says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core import RunSpec, RunStore, Worker, run
from unlearn_core.cli import main
from unlearn_core.errors import InputError
from unlearn_core.report.export.bundle import bundle
from unlearn_core.runs import events as ev
from unlearn_core.runs.control import Control
from unlearn_core.store.table.rows import setup_of
from unlearn_core.system.files import check_complete
from unlearn_core.training.watching.fact_probe import FactWatcher

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are free, so that they fall on every step however busy the machine is."""
    monkeypatch.setattr(FactWatcher, "num_tokens", 1)
    monkeypatch.setattr("unlearn_core.training.resources.budget.Budget.fits", lambda self: True)


def spec_of(memorised: Any, **changes: Any) -> RunSpec:
    ruinous = {"method": "grad_ascent", "steps": 10, "settings": {"learning_rate": 3e-2, "batch_size": 6}}
    spec: RunSpec = memorised.spec(**{**ruinous, **changes})
    return spec


def of(kind: type, events: list[ev.Event]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_a_falling_canary_is_an_event_and_the_budget_is_published(memorised: Any, tmp_path: Path) -> None:
    events = list(run(spec_of(memorised), home=tmp_path))
    (alert, *_) = of(ev.CanaryAlert, events)
    assert alert.down
    assert alert.canary == "retain"
    assert "retain canary is down" in alert.message
    looks = of(ev.FactProbe, events)
    assert {fact.split for fact in looks[0].facts} == {"forget", "retain"}
    assert all(look.watching >= 0 for look in looks)
    assert of(ev.FactAnswers, events)
    assert all(step.memory for step in of(ev.Step, events))
    for event in events:
        again = json.loads(json.dumps(ev.to_json(event), allow_nan=False))
        assert type(ev.from_json(again)) is type(event)
        if isinstance(event, ev.CanaryAlert | ev.FactAnswers | ev.BestKept | ev.FactProbe):
            assert ev.from_json(again) == event


def test_keep_best_is_scored_with_the_weights_of_the_best_step(memorised: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    events = list(run(spec_of(memorised, keep_best=True), home=tmp_path, out=out))
    (kept,) = of(ev.BestKept, events)
    assert 0 < kept.step < kept.last == 10
    assert kept.merit > kept.last_merit
    scored = {event.model: event.scores for event in of(ev.Score, events)}
    assert check_complete(out / "weights")["weights_hash"] == scored["unlearned"]["weights_hash"]
    stopped = list(run(spec_of(memorised), home=tmp_path, control=at(kept.step)))
    same = {event.model: event.scores for event in of(ev.Score, stopped)}
    assert same["unlearned"]["weights_hash"] == scored["unlearned"]["weights_hash"]


def at(step: int) -> Control:
    """Buttons that end the training after step `step`."""
    asked = iter(range(1, 1000))

    class Early(Control):
        @property
        def finishing(self) -> bool:
            return next(asked) >= step

    return Early()


def test_who_watches_may_stop_and_keep_the_best(memorised: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    control = Control()
    seen = []
    for event in run(spec_of(memorised, steps=1000), home=store.home, control=control):
        seen.append(event)
        if isinstance(event, ev.CanaryAlert) and event.down:
            control.keep_best()
    assert isinstance(seen[-1], ev.Finished), seen[-1]
    (kept,) = of(ev.BestKept, seen)
    assert kept.step <= kept.last < 1000
    assert len(of(ev.Step, seen)) == kept.last


def test_the_worker_keeps_the_best_for_its_owner_and_the_record_says_so(memorised: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    worker = Worker(store)
    run_id = worker.submit(spec_of(memorised, steps=5000), "me")
    with pytest.raises(InputError):
        worker.finish_early(run_id, "you", best=True)
    worker.finish_early(run_id, "me", best=True)
    assert worker.wait(run_id)
    worker.close()
    record = store.get(run_id)
    assert record.status == "finished"
    assert record.kept is not None
    assert record.kept["step"] <= record.kept["last"] < 5000
    found = bundle(store, run_id).to_json()
    assert found["kept"] == record.kept
    assert any("kept" in note for note in found["notes"])


def test_the_command_line_keeps_the_best(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    file = tmp_path / "result.json"
    ruinous = {"method": "grad_ascent", "steps": 10, "settings": {"learning_rate": "3e-2", "batch_size": 6}}
    code = main(memorised.arguments("--keep-best", "--json", str(file), **ruinous))
    assert code == 0
    result = json.loads(file.read_text())
    assert result["spec"]["keep_best"] is True
    assert 0 < result["kept"]["step"] < result["kept"]["last"]
    said = capsys.readouterr().err
    assert "warning: The retain canary is down" in said
    assert f"weights of step {result['kept']['step']} are kept" in said


def test_runs_from_before_the_choice_repeat_those_after(memorised: Any) -> None:
    spec = spec_of(memorised).to_json()
    old = {key: value for key, value in spec.items() if key != "keep_best"}
    assert setup_of(old) == setup_of(spec) != setup_of({**spec, "keep_best": True})
    with pytest.raises(InputError, match="keep_best"):
        RunSpec(keep_best="yes")  # type: ignore[arg-type]
