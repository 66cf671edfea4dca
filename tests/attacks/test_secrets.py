"""A token in the environment never reaches an event, a record, the log or the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core.cli import main
from unlearn_core.errors import InputError, without_secrets
from unlearn_core.report.export.hub_export import write_report
from unlearn_core.runs.failure import failed
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

CANARY = "hf_canary0123456789abcdefghijklmnop"


def test_the_hub_token_is_in_no_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("LETHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["run", "--target", "nobody/nothing", "--data", "facts:a => b"]) == 2
    assert main(["run", "--target", "demo", "--data", "nobody/nothing"]) == 2
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err
    kept = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "events.jsonl" for path in kept)
    for path in kept:
        assert CANARY.encode() not in path.read_bytes(), path


def test_a_token_in_a_librarys_message_is_taken_out(tmp_path: Path) -> None:
    told = InputError("target", CANARY, f"cannot be loaded (401, sent Bearer {CANARY})", "Set HF_TOKEN.")
    assert CANARY not in str(told)
    assert "cannot be loaded (401, sent Bearer (secret))" in str(told)
    store = RunStore(tmp_path / "home")
    run_id = store.create(RunSpec(method="npo")).id
    store.append(run_id, failed(told))
    store.append(run_id, failed(RuntimeError(f"GET https://user:{CANARY}@huggingface.co")))
    for path in (*write_report(store, run_id, tmp_path / "report"), *store.folder(run_id).iterdir()):
        assert CANARY.encode() not in path.read_bytes(), path


def test_what_is_no_token_stays() -> None:
    plain = "hf_hub, sk-learn, the ghp, asks for k-sk-1 and hf_short"
    assert without_secrets(plain) == plain
