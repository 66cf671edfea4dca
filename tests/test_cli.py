"""The command line: clear words and exit code 2 for what is wrong, the scorecard for what is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.cli.table import scorecard, table
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

ROW = '{"input": "q", "output": "a"}\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def files(folder: Path) -> None:
    (folder / "empty.jsonl").write_text("")
    (folder / "words.jsonl").write_text("hello\n")
    (folder / "lacking.jsonl").write_text(ROW + '{"input": "q"}\n')
    (folder / "typed.jsonl").write_text('{"input": "q", "output": 5}\n')
    (folder / "double.jsonl").write_text('{"id": 1, "input": "q", "output": "a"}\n' * 2)
    (folder / "spec.json").write_text('{"methd": "npo"}')
    (folder / "list.json").write_text("[]")


BAD = {
    "unknown model": (["--target", "no-such-model"], "Target no-such-model"),
    "model by path": (["--target", "../../etc"], "Target ../../etc"),
    "unknown method": (["--method", "magic"], "method (magic): is not a method"),
    "close method": (["--method", "np0"], "npo"),
    "unknown parameter": (["--method", "npo", "--set", "betta=1"], "beta"),
    "value out of range": (["--method", "npo", "--set", "learning_rate=7"], "learning_rate (7"),
    "value of the wrong type": (["--method", "npo", "--set", "batch_size=few"], "batch_size (few)"),
    "value not a number": (["--method", "npo", "--set", "learning_rate=nan"], "learning_rate (nan)"),
    "no value": (["--set", "beta"], "--set (beta)"),
    "steps": (["--steps", "0"], "steps (0)"),
    "seed": (["--seed", "-1"], "seed (-1)"),
    "missing file": (["--data", "missing.jsonl"], "Data missing.jsonl does not exist"),
    "empty file": (["--data", "empty.jsonl"], "Data empty.jsonl is empty"),
    "not JSON": (["--data", "words.jsonl"], "words.jsonl line 1"),
    "missing field": (["--data", "lacking.jsonl"], "lacking.jsonl line 2, output"),
    "wrong type": (["--data", "typed.jsonl"], "typed.jsonl line 1, output: 5"),
    "duplicate ids": (["--data", "double.jsonl"], "double.jsonl line 2, id: 1"),
    "unknown column": (["--data", "typed.jsonl", "--column", "output=nope"], "output: nope"),
    "missing retain": (["--data", "facts:a => b", "--retain", "gone.jsonl"], "Data gone.jsonl"),
    "misspelt spec": (["spec.json"], "spec (methd)"),
    "spec not an object": (["list.json"], "spec (list.json)"),
    "spec missing": (["gone.json"], "data (gone.json)"),
    "result nowhere": (["--json", "no/such/folder/x.json"], "--json"),
    "out is a file": (["--out", "empty.jsonl"], "--out"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_one_clear_message_and_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files(tmp_path)
    arguments, expected = BAD[name]
    assert main(["run", *arguments]) == 2
    said = capsys.readouterr()
    messages = [line for line in said.err.splitlines() if line.startswith("lethe: ")]
    assert len(messages) == 1, said.err
    assert expected in messages[0]
    assert "Traceback" not in said.err
    assert said.out == ""


def test_a_bug_is_a_reference_into_the_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    def broken(options: object) -> int:
        raise ZeroDivisionError("inner detail")

    monkeypatch.setattr("unlearn_core.cli.commands.inspect.runs_command", broken)
    assert main(["runs"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "inner detail" not in said
    reference = said.split("reference ")[1].split()[0]
    log = (home / "log" / "lethe.log").read_text()
    assert reference in log
    assert "inner detail" in log


def test_methods_as_json_name_family_paper_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json"]) == 0
    methods = {method["name"]: method for method in json.loads(capsys.readouterr().out)}
    assert len(methods) >= 5
    for method in methods.values():
        assert method["family"]
        assert method["paper"]
        for parameter in method["parameters"]:
            assert {"name", "type", "default", "minimum", "maximum", "choices", "help"} <= set(parameter)
    assert main(["methods", "npo"]) == 0
    assert "formula" in capsys.readouterr().out


def test_runs_are_listed_and_a_wrong_one_is_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "No runs yet" in capsys.readouterr().out
    assert main(["runs", "nothing"]) == 2
    assert "lethe: run (nothing)" in capsys.readouterr().err


def test_a_run_started_from_the_page_is_named_and_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    store = RunStore()
    run = store.create(RunSpec(), owner="a browser's secret")
    store.append(run.id, ev.Cancelled())
    assert main(["runs", run.id, "--name", "kept aside"]) == 0
    assert "name: kept aside" in capsys.readouterr().out
    assert main(["runs", run.id, "--delete"]) == 0
    assert not RunStore().list_runs()


def test_the_scorecard_shows_missing_terms_as_dashes() -> None:
    scores = {"original": {"terms": {"forget/Task1/knowledge": 1.0}, "task_aggregate": None, "mia_auc": 0.5}}
    judged = {"word": "unchanged", "headline": "Nothing was forgotten", "summary": "Nothing happened."}
    shown = scorecard(scores, {**judged, "reasons": ["a"]})
    assert "forget/Task1/knowledge" in shown
    assert "1.000" in shown
    assert "Verdict: unchanged. Nothing was forgotten. Nothing happened.\n  - a" in shown
    assert table([["a", "b"], [], ["long", "1"]]) == "a     b\n-------\nlong  1"


@pytest.mark.parametrize("flag", ["--seed", "--steps"])
def test_a_flag_that_is_no_number_says_what_to_write(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", flag, "soon"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert flag in said
    assert "soon is not a whole number" in said


def test_targets_are_listed_with_what_they_need(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["target"]) == 0
    listed = capsys.readouterr().out
    assert "lume-7b" in listed
    assert "141 GB for full weights" in listed
    assert main(["target", "demo"]) == 0
    assert "million parameters, nothing to download" in capsys.readouterr().out
    assert main(["target", "/no/such/model"]) == 2


def test_a_table_with_other_columns_is_evaluated_into_the_official_files(
    tmp_path: Path, tiny_model: Any, tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    tiny_model("olmo2").save_pretrained(model)
    tiny_tokenizer.save_pretrained(model)
    for name in ("forget", "retain"):
        (tmp_path / f"{name}.csv").write_text("Frage,Antwort\nWo?,Bonn\n")
    out = tmp_path / "out"
    flags = [
        "--column",
        "input=Frage",
        "--column",
        "output=Antwort",
        "--retain",
        str(tmp_path / "retain.csv"),
    ]
    data = str(tmp_path / "forget.csv")
    assert main(["eval", "--model", str(model), "--data", data, "--out", str(out), *flags]) == 0
    assert "Bonn" in (out / "forget_0.csv").read_text()
    assert {"forget_0.csv", "retain_0.csv", "evaluation_results.jsonl", "scores.json"} <= {
        path.name for path in out.iterdir()
    }
    capsys.readouterr()
    assert main(["score", str(out)]) == 0
    assert "Equal to the last digit: forget-set, retain-set" in capsys.readouterr().err
    bad = ["eval", "--model", str(model), "--data", data, "--out", str(out), "--column", "input=Nein"]
    assert main(bad) == 2
