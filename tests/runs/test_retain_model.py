"""A run is read against any model that never saw the forget set, or against what is stored of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core import RunSpec, run
from unlearn_core.cli import main
from unlearn_core.models.catalogue import retain_model_of
from unlearn_core.runs import events as ev
from unlearn_core.service.answers import Answerer
from unlearn_core.store.audits import open_case
from unlearn_core.store.store import RunStore


def scores_of(events: list[Any], model: str) -> dict[str, Any]:
    return next(event.scores for event in events if isinstance(event, ev.Score) and event.model == model)


def test_the_bundled_model_brings_one_and_a_name_overrules_it() -> None:
    assert retain_model_of("demo", "demo") == "demo:retain_only"
    assert retain_model_of("demo", "facts:a => b") is None
    assert retain_model_of("demo", "demo", "somebody/else") == "somebody/else"
    assert retain_model_of("somebody/else", "demo") is None


def test_published_targets_bring_the_retain_model_of_their_split() -> None:
    model = "open-unlearning/tofu_Llama-3.2-1B-Instruct"
    for size, kept in (("01", "99"), ("05", "95"), ("10", "90")):
        assert retain_model_of("tofu-1b", f"locuslab/TOFU:forget{size}") == f"{model}_retain{kept}"
        assert retain_model_of(f"{model}_full", f"locuslab/TOFU:forget{size}") == f"{model}_retain{kept}"
    assert retain_model_of("tofu-1b", "locuslab/TOFU") is None
    assert retain_model_of("muse-books", "muse-bench/MUSE-Books") == "muse-bench/MUSE-Books_retrain"
    assert retain_model_of("muse-books", "muse-bench/MUSE-News") is None


def test_a_run_is_read_against_a_model_or_its_stored_scores(
    memorised: Any, saved_model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    retain, stored = saved_model(seed=3), tmp_path / "retain.json"
    out = tmp_path / "out"
    spec = {"target": memorised.model, "data": memorised.data, "method": "grad_diff", "steps": 2}
    events = list(run(RunSpec(**spec, retain_model=retain), out=out))
    assert isinstance(events[-1], ev.Finished), events[-1]
    scored = scores_of(events, "retain_only")
    assert scored["weights_hash"] != scores_of(events, "original")["weights_hash"]
    assert scores_of(events, "unlearned")["details"]["attacks"]["reference"] is not None
    stored.write_text(json.dumps(scored))
    again = list(run(RunSpec(**spec, retain_model=str(stored))))
    assert isinstance(again[-1], ev.Finished), again[-1]
    assert scores_of(again, "retain_only")["terms"] == scored["terms"]
    case = open_case(out)
    assert case.retain_only is not None
    assert case.original is not None


def test_what_a_retain_model_cannot_be(memorised: Any, tmp_path: Path) -> None:
    spec = {"target": memorised.model, "data": memorised.data, "method": "grad_diff", "steps": 2}
    other, damaged = tmp_path / "other.json", tmp_path / "damaged.json"
    damaged.write_text("{")
    events = list(run(RunSpec(**spec), home=tmp_path / "home"))
    other.write_text(json.dumps(scores_of(events, "original") | {"data_fingerprint": "another"}))
    for name, said in (
        (other, "scored on other data"),
        (damaged, "not JSON"),
        (tmp_path / "no.json", "cannot be read"),
    ):
        last = list(run(RunSpec(**spec, retain_model=str(name)), home=tmp_path / "home"))[-1]
        assert isinstance(last, ev.Failed)
        assert said in last.message


def test_the_command_line_and_the_probe_know_it(
    memorised: Any, saved_model: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    retain, out = saved_model(seed=3), tmp_path / "o.json"
    arguments = ["run", "--target", memorised.model, "--data", memorised.data, "--method", "grad_diff"]
    assert main([*arguments, "--steps", "2", "--retain-model", retain, "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert "retain_only" in record
    store = RunStore(tmp_path / "home")
    assert Answerer(store).models(record["run"], "")["retain_only"].ref == retain
    assert Answerer(store).models("", "demo")["retain_only"].ref == "demo:retain_only"
    store.close()
