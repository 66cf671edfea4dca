"""`lethe traces`: a kept run's neurons as words, on the terminal and in files."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_page import assert_golden
from transformers import AutoModelForCausalLM

from unlearn_core.cli import main
from unlearn_core.evaluation.traces import Trace
from unlearn_core.report.run.traces import reading, traces_view
from unlearn_core.runs.events import Finished
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.traces import run_traces
from unlearn_core.system.files import save_complete


def keep(store: RunStore, memorised: Any, weights: str) -> str:
    spec = RunSpec(target=memorised.model, data=memorised.data)
    record = store.create(spec, "me")
    folder = store.folder(record.id) / "weights"
    save_complete(folder, lambda to: shutil.copytree(weights, to, dirs_exist_ok=True), {"spec": spec.to_json()})
    store.append(record.id, Finished({"label": "unchanged", "summary": ""}, {"load": 1.0}, "weights"))
    return record.id


def test_a_run_that_changed_nothing_and_one_that_struck_a_vector(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("LETHE_HOME", str(home))
    store = RunStore(home)
    untouched = keep(store, memorised, memorised.model)
    found = run_traces(untouched, home=home, count=3)
    assert [trace.split for trace in found] == ["forget"] * 3 + ["retain"] * 3
    assert all(trace.distance == 0 and trace.overlap == 1 and trace.gain > 0 for trace in found)

    struck, other = tmp_path / "struck", found[0]
    shutil.copytree(memorised.model, struck)
    model = AutoModelForCausalLM.from_pretrained(struck)
    with torch.no_grad():
        model.model.layers[other.layer].mlp.down_proj.weight[:, other.neuron] *= -1
    model.save_pretrained(struck)
    run = keep(store, memorised, str(struck))
    store.close()
    files = {kind: tmp_path / f"traces.{kind}" for kind in ("json", "csv")}
    flags = ["--vectors", "3", "--json", str(files["json"]), "--csv", str(files["csv"])]
    assert main(["traces", run, *flags]) == 0
    assert "-1.000" in capsys.readouterr().out
    first, *rest = json.loads(files["json"].read_text())["traces"]
    assert (first["layer"], first["neuron"]) == (other.layer, other.neuron)
    assert first["cosine"] == pytest.approx(-1.0)
    assert all(trace["distance"] == 0 for trace in rest)
    lines = files["csv"].read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("Set,Layer,Neuron")


def test_the_words_of_the_traces() -> None:
    """Of an aimed change, one that is not, none at all, and of no neurons; a model's words are shown as text."""
    words = ("<script>", "&amp;")
    gone = Trace("forget", 0, 1, 0.5, 0.2, 0.9, 0.1, words, ("<b>",))
    held = Trace("retain", 0, 2, 0.5, 1.0, 0.0, 1.0, words, words)
    others = ((gone, replace(gone, split="retain")), (replace(held, split="forget"), held), ())
    assert_golden("traces", traces_view((gone, held)), *map(reading, others))


def test_a_run_that_is_not_there_is_said_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    assert main(["traces", "nothing"]) == 2
    assert "lethe:" in capsys.readouterr().err
    assert main(["traces", "nothing", "--vectors", "0"]) == 2
