"""A whole run on a real, tiny model: what it yields, what it keeps, how it ends when it cannot go on."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core import RunSpec, RunStore, Worker, run
from unlearn_core.cli import main
from unlearn_core.evaluation.progress import result_of
from unlearn_core.runs import events as ev
from unlearn_core.runs.control import Control
from unlearn_core.system.files import check_complete

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def test_a_run_goes_through_its_stages_and_forgets(memorised: Any, tmp_path: Path) -> None:
    events = list(run(memorised.spec(), home=tmp_path / "home", out=tmp_path / "out"))
    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "RunStarted"
    assert kinds[-1] == "Finished"
    assert kinds.count("Step") == 8
    started, finished = events[0], events[-1]
    assert isinstance(started, ev.RunStarted)
    assert isinstance(finished, ev.Finished)
    assert set(finished.seconds) == set(started.stages)
    scores = {event.model: event.scores for event in events if isinstance(event, ev.Score)}
    before, after = scores["original"], scores["unlearned"]
    assert before["terms"]["forget/Task1/knowledge"] == 1.0
    assert after["terms"]["forget/Task1/knowledge"] < 1.0
    assert before["weights_hash"] != after["weights_hash"]
    marker = check_complete(tmp_path / "out" / finished.artifact, hashes=True)
    assert marker["weights_hash"] == after["weights_hash"]
    probes = [event for event in events if isinstance(event, ev.FactProbe)]
    assert (probes[0].step, probes[-1].step) == (0, 8)
    assert all(ev.from_json(json.loads(json.dumps(ev.to_json(event)))) for event in events)


def test_saved_weights_load_with_the_hash_that_was_scored(memorised: Any, tmp_path: Path) -> None:
    from unlearn_core import load_target

    for adapter in ("full", "lora"):
        out = tmp_path / adapter
        events = list(run(memorised.spec(adapter=adapter), home=tmp_path / "home", out=out))
        assert isinstance(events[-1], ev.Finished), events[-1]
        (scored,) = [e.scores for e in events if isinstance(e, ev.Score) and e.model == "unlearned"]
        loaded = load_target(str(out / "weights"))
        from unlearn_core import evaluate, load_data

        again = result_of(evaluate(loaded.model, loaded.tokenizer, load_data(memorised.data)))
        assert again.terms == scored["terms"]
        assert loaded.weights_hash == scored["weights_hash"]  # else no attack on them would count in the verdict


def test_the_original_is_scored_once(memorised: Any, tmp_path: Path) -> None:
    cached = []
    for seed in (0, 1):
        events = run(memorised.spec(seed=seed), home=tmp_path)
        cached.append([event.cached for event in events if isinstance(event, ev.Score)])
    assert cached == [[False, False], [True, False]]
    for path in (tmp_path / "cache" / "scores").iterdir():
        path.write_text('{"terms": ')  # damaged: scored anew, not an error
    events = list(run(memorised.spec(), home=tmp_path))
    assert isinstance(events[-1], ev.Finished)


def test_the_same_seed_gives_the_same_scores_from_python_and_from_the_command_line(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    events = list(run(memorised.spec(), home=tmp_path / "other"))
    from_python = {event.model: event.scores for event in events if isinstance(event, ev.Score)}
    file = tmp_path / "result.json"
    assert main(memorised.arguments("--seed", "0", "--json", str(file))) == 0
    said = capsys.readouterr()
    assert "Verdict:" in said.out
    assert "forget/Task3/knowledge" in said.out
    assert "unlearn" in said.err
    result = json.loads(file.read_text())
    assert {"spec", "original", "unlearned", "verdict", "seconds"} <= set(result)
    for model in ("original", "unlearned"):
        wanted = ("terms", "task_aggregate", "mia_auc", "mia_score", "utility", "final_score", "weights_hash")
        for key in wanted:
            assert result[model][key] == from_python[model][key], key
        assert len(result[model]["terms"]) == 12
        assert len(result[model]["aggregated_terms"]) == 12
    assert check_complete(Path(result["weights"]))
    assert RunStore().get(result["run"]).status == "finished"


def test_closing_stops_within_two_steps_and_the_next_run_works(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearn_core.training import loop

    read, taken = loop._read, []

    def counted(*args: Any) -> Any:
        taken.append(args)
        return read(*args)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_read", counted)  # once a step
        events = run(memorised.spec(steps=10_000), home=tmp_path)
        for event in events:
            if isinstance(event, ev.Step) and event.step == 2:
                break
        events.close()  # type: ignore[attr-defined]
        assert 2 <= len(taken) <= 4
    assert isinstance(list(run(memorised.spec(), home=tmp_path))[-1], ev.Finished)


def test_finish_early_scores_what_there_is(memorised: Any, tmp_path: Path) -> None:
    control = Control()
    seen = []
    for event in run(memorised.spec(steps=10_000), home=tmp_path, control=control):
        seen.append(event)
        if isinstance(event, ev.Step) and event.step == 3:
            control.finish_early()
    assert isinstance(seen[-1], ev.Finished)
    assert sum(isinstance(event, ev.Step) for event in seen) <= 4


def test_a_forget_set_alone_says_what_is_missing(memorised: Any, tmp_path: Path) -> None:
    data = str(Path(memorised.data) / "forget.jsonl")
    events = list(run(memorised.spec(data=data, method="grad_ascent"), home=tmp_path))
    assert isinstance(events[-1], ev.Finished), events[-1]
    warnings = [event.message for event in events if isinstance(event, ev.Warned)]
    assert any("membership" in message for message in warnings)
    (score,) = [e.scores for e in events if isinstance(e, ev.Score) and e.model == "unlearned"]
    assert score["mia_auc"] is None
    assert score["terms"]["retain/Task1/knowledge"] is None
    assert score["final_score"] == -1
    facts = "facts:What is the capital of nowhere? => Xanadu"
    unknown = list(run(memorised.spec(data=facts, method="grad_ascent", steps=1), home=tmp_path))
    assert any("nothing to forget" in event.message for event in unknown if isinstance(event, ev.Warned))
    assert not any("nothing to forget" in message for message in warnings)
    needy = list(run(memorised.spec(data=data), home=tmp_path))
    assert isinstance(needy[-1], ev.Failed)
    assert "retain set" in needy[-1].message.lower()


def test_a_loss_that_is_not_a_number_ends_as_diverged(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unlearn_core.training import loop

    read = loop._read

    def poisoned(*args: Any) -> Any:
        values, norm = read(*args)
        return {**values, "total": float("nan")}, norm

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_read", poisoned)
        end = list(run(memorised.spec(), home=tmp_path))[-1]
    assert isinstance(end, ev.Failed)
    assert end.kind == "diverged"
    assert "step 1" in end.message
    assert isinstance(list(run(memorised.spec(), home=tmp_path))[-1], ev.Finished)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(errno.ENOSPC, "No space left on device"), "disk_full"), (MemoryError(), "out_of_memory")],
)
def test_a_full_disk_or_memory_while_saving_is_told_and_the_next_run_works(
    error: Exception, kind: str, memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> None:
        raise error

    spec, out = memorised.spec(steps=1), tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("unlearn_core.runs.run._checkpoint", refuse)
        end = list(run(spec, home=tmp_path, out=out))[-1]
    assert isinstance(end, ev.Failed)
    assert end.kind == kind
    assert not (out / "weights").exists()
    assert isinstance(list(run(spec, home=tmp_path, out=out))[-1], ev.Finished)


def test_memory_comes_back_after_a_run_that_failed(memorised: Any, tmp_path: Path) -> None:
    import gc

    from transformers import PreTrainedModel

    list(run(memorised.spec(steps=1), home=tmp_path))
    gc.collect()
    before = sum(issubclass(type(thing), PreTrainedModel) for thing in gc.get_objects())
    for spec in (memorised.spec(steps=1), memorised.spec(data="facts:a => b")):
        list(run(spec, home=tmp_path))
    gc.collect()
    assert sum(issubclass(type(thing), PreTrainedModel) for thing in gc.get_objects()) == before


def test_memory_is_back_after_runs_that_ran_out_of_it_or_were_stopped(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from unlearn_core.system.machine.memory import resident_memory
    from unlearn_core.training import loop

    def full(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    held = []
    for _ in range(3):
        with monkeypatch.context() as patch:
            patch.setattr(loop, "gradients", full)
            assert list(run(memorised.spec(), home=tmp_path))[-1].kind == "out_of_memory"  # type: ignore[union-attr]
        events = run(memorised.spec(), home=tmp_path)
        next(event for event in events if isinstance(event, ev.Step))
        events.close()
        held.append(resident_memory())
    assert held[-1] < 1.1 * held[0]


def test_a_clock_that_jumps_changes_no_duration(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(calls) * 86_400)
    store = RunStore(tmp_path)
    worker = Worker(store)
    run_id = worker.submit(memorised.spec())
    assert worker.wait(run_id)
    worker.close()
    events = store.read_events(run_id)[0]
    end = events[-1]
    assert isinstance(end, ev.Finished)
    assert all(0 <= seconds < 43_200 for seconds in end.seconds.values()), "half a jump"
    told = [event.seconds for event in events if isinstance(event, ev.Step)]
    assert told == sorted(told)
    assert told[-1] < 43_200


def test_the_worker_carries_out_the_same_run(memorised: Any, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    worker = Worker(store)
    run_id = worker.submit(memorised.spec(), owner="me")
    assert worker.wait(run_id)
    worker.close()
    record = store.get(run_id)
    assert record.status == "finished", record.message
    assert check_complete(store.weights(run_id))
    assert record.scores["unlearned"]["terms"].keys() == record.scores["original"]["terms"].keys()
    assert "generations" not in record.scores["unlearned"]


def start_cli(memorised: Any, home: Path) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-m", "unlearn_core", *memorised.arguments(steps=100_000)],
        env={**os.environ, "LETHE_HOME": str(home), "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.usefixtures("interruptible")
def test_a_command_that_is_stopped_leaves_a_run_that_says_so(
    memorised: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What becomes of one that is killed: test_resume.py."""
    store = RunStore(tmp_path)
    child = start_cli(memorised, tmp_path)
    request.addfinalizer(child.kill)

    def trains() -> bool:
        assert child.poll() is None, child.stderr and child.stderr.read()
        return any('"Step"' in path.read_text() for path in tmp_path.glob("runs/*/events.jsonl"))

    until(trains)
    (record,) = store.list_runs()
    assert record.status == "running"
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == 130, said
    assert "Traceback" not in said
    assert store.get(record.id).status == "cancelled"


def test_facts_that_the_model_does_not_tell_are_named_before_the_training(memorised: Any, tmp_path: Path) -> None:
    facts = "facts:Who is Ada? => adA\nWho is Bo? => nobody that is known here"
    spec = RunSpec(target=memorised.model, data=facts, method="grad_ascent", steps=1, save=False)
    said = [event.message for event in run(spec, home=tmp_path) if isinstance(event, ev.Warned)]
    [told] = [message for message in said if "not claimed as forgotten" in message]
    assert told.startswith("Of 2 facts to forget the original tells 1;")
    assert "Who is Bo" in told
    assert "Ada" not in told


def test_of_named_facts_that_the_model_does_not_tell_nothing_is_claimed(memorised: Any, tmp_path: Path) -> None:
    facts = "facts:Who is Bo? => nobody that is known here"
    spec = RunSpec(target=memorised.model, data=facts, method="grad_ascent", steps=1, save=False)
    *before, last = run(spec, home=tmp_path)
    assert any("nothing to forget" in event.message for event in before if isinstance(event, ev.Warned))
    assert isinstance(last, ev.Finished)
    assert last.verdict["headline"].startswith("Nothing to forget")
