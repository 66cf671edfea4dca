"""`lethe eval`, `score`, `probe`, `runs` on a real tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_eval_writes_files_from_which_score_reads_the_same(
    memorised: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, json_path = tmp_path / "out", tmp_path / "all.json"
    arguments = ["eval", "--model", memorised.model, "--data", memorised.data, "--out", str(out)]
    assert main([*arguments, "--json", str(json_path)]) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {
        "forget_0.csv", "retain_0.csv", "mia_results/member_0.csv", "mia_results/nonmember_0.csv",
        "evaluation_results.jsonl",
    }  # fmt: skip
    scores = json.loads(json_path.read_text())
    capsys.readouterr()
    assert main(["score", str(out), "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["result"]["aggregated-terms"] == pytest.approx(scores["aggregated_terms"])
    assert said["result"] == json.loads((out / "evaluation_results.jsonl").read_text())
    assert said["result"]["harmonic-mean-task-aggregate"] == pytest.approx(scores["task_aggregate"])
    assert said["verdict"]["label"]


def test_score_of_a_directory_without_inference_files_is_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path)]) == 2
    assert "forget_0.csv" in capsys.readouterr().err
    assert main(["score", str(tmp_path / "gone")]) == 2
    assert "not a directory" in capsys.readouterr().err


def test_probe_streams_an_answer_and_runs_shows_and_deletes(
    memorised: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--target",
        memorised.model,
        "--data",
        memorised.data,
        "--method",
        "grad_diff",
        "--steps",
        "2",
    ]
    assert main(["run", *arguments, "--json", str(tmp_path / "r.json")]) == 0
    run_id = json.loads((tmp_path / "r.json").read_text())["run"]
    capsys.readouterr()
    assert main(["probe", "Who is Ada?", "--target", memorised.model, "--max-new-tokens", "8"]) == 0
    assert capsys.readouterr().out.strip() == "adA"
    assert main(["probe", "Who is Ada?", "--run", run_id, "--max-new-tokens", "8"]) == 0
    assert capsys.readouterr().out.startswith("original: ")
    assert main(["runs"]) == 0
    assert run_id in capsys.readouterr().out
    assert main(["runs", run_id]) == 0
    assert "Verdict" in capsys.readouterr().out
    assert main(["runs", run_id, "--delete"]) == 0
    assert main(["runs", run_id]) == 2
