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
        "forget_0.csv",
        "retain_0.csv",
        "mia_results/member_0.csv",
        "mia_results/nonmember_0.csv",
        "evaluation_results.jsonl",
    }
    scores = json.loads(json_path.read_text())
    capsys.readouterr()
    assert main(["score", str(out), "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["result"]["aggregated-terms"] == pytest.approx(scores["aggregated_terms"])
    assert said["result"] == json.loads((out / "evaluation_results.jsonl").read_text())
    assert said["result"]["harmonic-mean-task-aggregate"] == pytest.approx(scores["task_aggregate"])
    assert said["verdict"]["word"]


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
    assert main(memorised.arguments("--json", str(tmp_path / "r.json"), steps=2)) == 0
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


def test_runs_are_named_tagged_found_and_compared(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from unlearn_core.runs import events as ev
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.store.store import RunStore

    store, ids = RunStore(home), []
    for beta, seed, final in ((0.1, 0, 0.2), (0.1, 1, 0.4), (0.5, 0, 0.6)):
        spec = RunSpec(method="npo", settings={"beta": beta}, seed=seed)
        ids.append(store.create(spec).id)
        store.append(ids[-1], ev.RunStarted(spec.to_json(), (), 1, "cpu"))
        store.append(ids[-1], ev.Score("original", {"weights_hash": "o", "data_fingerprint": "d", "terms": {}}))
        store.append(ids[-1], ev.Score("unlearned", {"final_score": final, "terms": {}}))
        store.append(ids[-1], ev.Finished({"label": "forgotten", "summary": "Gone."}, {"load": 1.0}))
    store.close()
    assert main(["runs", ids[0], "--name", "beta low", "--tag", "keep", "--tag", "beta"]) == 0
    assert "name: beta low  tags: keep, beta" in capsys.readouterr().out
    assert main(["runs", "--tag", "keep", "--tag", "beta"]) == 0
    listed = capsys.readouterr().out
    assert "beta low  keep, beta" in listed
    assert ids[1] not in listed
    assert main(["runs", "--search", "no such words"]) == 0
    assert "No run fits" in capsys.readouterr().out
    assert main(["runs", ids[0], "--untag", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["tags"] == []

    assert main(["compare", ids[0], ids[2]]) == 0
    said = capsys.readouterr().out
    assert f"A: beta low  ({ids[0]}; seeds 0, 1)" in said
    final = next(line for line in said.splitlines() if line.startswith("Final score"))
    assert final.split()[2] == "0.300"  # the mean of the two seeds
    assert "+0.300" in final
    assert "beta" in said.split("setting")[-1]
    assert main(["compare", ids[0], ids[2], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scores"][0]["means"][0]["mean"] == pytest.approx(0.3)
    assert main(["compare", ids[0]]) == 2
    assert "Pick 2 to 4 runs" in capsys.readouterr().err
    assert main(["runs", "--name", "x"]) == 2


def test_a_run_repeated_from_its_report_has_the_same_weights_and_scores(
    memorised: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    form = ["--target", memorised.model, "--data", memorised.data, "--method", "npo", "--set", "beta=0.3"]
    assert main(["run", *form, "--set", "learning_rate=0.01", "--steps", "6", "--json", str(first)]) == 0
    before = json.loads(first.read_text())
    assert main(["report", before["run"], "--out", str(tmp_path)]) == 0
    assert main(["run", str(tmp_path / "lethe_report.json"), "--json", str(second)]) == 0
    after = json.loads(second.read_text())
    assert after["run"] != before["run"]
    assert after["spec"] == before["spec"]
    assert after["unlearned"]["weights_hash"] == before["unlearned"]["weights_hash"]
    assert after["unlearned"]["weights_hash"] != before["original"]["weights_hash"]
    for result in (before, after):  # how long the scoring took is no score
        assert result["unlearned"].pop("seconds")
    assert after["unlearned"]["task_aggregate"] > before["original"]["task_aggregate"]
    assert after["unlearned"] == before["unlearned"]
    assert after["verdict"] == before["verdict"]
