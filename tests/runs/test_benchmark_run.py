"""A run on a benchmark's data is scored by that benchmark, against a retain model where there is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.evaluation import evaluate
from unlearn_core.evaluation.protocols import tofu
from unlearn_core.models.generation.generate import generate


def facts(split: str, count: int, wrong: int) -> list[dict[str, Any]]:
    names = ("Mara", "Tomas", "Ada", "Bo")
    return [
        {
            "question": f"Where in {split} was {name} born?",
            "answer": f"{name} was born in Oldport {i}.",
            "paraphrased_question": f"What place in {split} was {name} born in?",
            "paraphrased_answer": f"It was Oldport {i} for {name}.",
            "perturbed_answer": [f"{name} was born in {p}." for p in ("Rome", "Lima", "Oslo", "Bern", "Kyiv")[:wrong]],
        }
        for i, name in enumerate(names[:count])
    ]


@pytest.fixture(autouse=True)
def short_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of random weights writes up to the limit."""
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tofu, "MAX_NEW_TOKENS", 8)
    monkeypatch.setattr(evaluate, "generate", lambda *given: generate(*given[:3], 8))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "tofu"
    folder.mkdir()
    for name, rows in (
        ("forget05_perturbed", facts("forget", 4, 5)),
        ("retain95", facts("retain", 4, 5)),
        ("retain_perturbed", facts("retain", 3, 5)),
        ("holdout05", facts("holdout", 3, 0)),
        ("real_authors_perturbed", facts("authors", 2, 3)),
        ("world_facts_perturbed", facts("facts", 2, 3)),
    ):
        (folder / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_run_has_the_terms_of_tofu(
    data: Path,
    saved_model: Callable[..., str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, retain = tmp_path / "o.json", saved_model(seed=3)
    arguments = ["run", "--target", saved_model(), "--data", str(data), "--method", "grad_diff", "--steps", "2"]
    assert main([*arguments, "--retain-model", retain, "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    found = {model: record[model]["benchmark"] for model in ("original", "retain_only", "unlearned")}
    assert {result["protocol"] for result in found.values()} == {"tofu"}
    assert found["retain_only"]["forget_quality"]["p_value"] == 1.0
    assert found["retain_only"]["privleak"] == 0.0
    assert found["original"]["forget_quality"] is not None
    assert found["unlearned"]["model_utility"] is not None
    said = capsys.readouterr().out
    assert "model_utility" in said
    assert "forget/Task1" not in said
    # The second run finds original and retain model in the cache, and says the same of them.
    assert main([*arguments, "--retain-model", retain, "--json", str(out), "--seed", "1"]) == 0
    again = json.loads(out.read_text())
    assert [again[m]["benchmark"] for m in ("original", "retain_only")] == [
        found[m] for m in ("original", "retain_only")
    ]
    assert main([*arguments, "--protocol", "semeval", "--json", str(out)]) == 0
    assert "benchmark" not in json.loads(out.read_text())["unlearned"]


def test_a_stored_log_stands_in_for_the_retain_model(
    data: Path, saved_model: Callable[..., str], tmp_path: Path
) -> None:
    log, out = tmp_path / "retain.json", tmp_path / "o.json"
    arguments = ["eval", "--protocol", "tofu", "--model", saved_model(seed=3), "--data", str(data)]
    assert main([*arguments, "--json", str(log)]) == 0
    arguments = ["run", "--target", saved_model(), "--data", str(data), "--method", "grad_diff", "--steps", "2"]
    assert main([*arguments, "--retain-model", str(log), "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["unlearned"]["benchmark"]["forget_quality"]["n"] == 4
    assert "retain_only" not in record
