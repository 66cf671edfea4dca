"""MUSE's folds one after another: each request goes on from the last, or a growing set from the target."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols import muse
from unlearn_core.models.targets import load_target
from unlearn_core.runs.series.folds import fold_specs
from unlearn_core.runs.spec import RunSpec

NAMES = ("Mara", "Tomas", "Ada")


def write(path: Path, rows: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "MUSE-Tiny"
    told = [{"text": f"{name} went to Oldport. " * 12} for name in NAMES]
    write(root / "raw" / "forget.jsonl", told)
    write(root / "raw" / "retain1.jsonl", [{"text": "The novel was written in a harbour. " * 9}])
    write(
        root / "verbmem" / "forget.jsonl", [{"prompt": f"{n} was born", "gt": "in Oldport, they say."} for n in NAMES]
    )
    for side in ("forget", "retain"):
        write(root / "knowmem" / f"{side}_qa.jsonl", [{"question": f"Where did {NAMES[0]} {side}?", "answer": "Here"}])
    for number in (1, 2):
        write(root / "scal" / f"forget_{number}.jsonl", told[:number])
        write(root / "sust" / f"forget_{number}.jsonl", told[number - 1 : number])
    return root


def test_a_request_is_forgotten_by_what_the_one_before_left(data: Path) -> None:
    spec, out = RunSpec(target="model", data=str(data), method="npo", save=False), Path("out")
    requests = list(fold_specs(spec, "sust", out))
    assert [(name, run.target, run.data) for name, run, _ in requests] == [
        ("sust_1", "model", f"{data}:sust_1"),
        ("sust_2", "out/sust_1/weights", f"{data}:sust_2"),
    ]
    assert all(run.save for _, run, _ in requests)
    assert [run.target for _, run, _ in fold_specs(spec, "scal", out)] == ["model", "model"]
    with pytest.raises(InputError, match="no folds of scal"):
        list(fold_specs(RunSpec(data=str(data / "raw")), "scal", out))


def test_the_folds_run_in_turn_and_change_the_weights_each_time(
    data: Path,
    saved_model: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(muse, "VERBMEM_TOKENS", 8)
    monkeypatch.setattr(muse, "KNOWMEM_TOKENS", 6)
    target, result = saved_model(), tmp_path / "folds.json"
    arguments = ["folds", "--kind", "sust", "--target", target, "--data", str(data), "--method", "grad_diff"]
    assert main([*arguments, "--steps", "2", "--out", str(tmp_path / "out"), "--json", str(result)]) == 0
    said = capsys.readouterr().out
    assert "sust_1" in said
    assert "forget_verbmem_ROUGE" in said
    told = json.loads(result.read_text())
    first, second = told["sust_1"], told["sust_2"]
    assert first["original"]["weights_hash"] == load_target(target).weights_hash
    assert second["original"]["weights_hash"] == first["unlearned"]["weights_hash"]
    assert second["unlearned"]["weights_hash"] != first["unlearned"]["weights_hash"]
    assert Path(second["weights"]).is_dir()
