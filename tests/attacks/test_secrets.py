"""A token in the environment never reaches an event, a record, the log or the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core.cli import main

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
