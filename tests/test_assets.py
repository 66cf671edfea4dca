"""The shipped models are the ones the manifest describes, and they know what it says they know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unlearn_core.data.types import TASKS, Example
from unlearn_core.data.world import demo_data
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.targets import load_target
from unlearn_core.system.assets import assets_directory

DEMO = assets_directory() / "demo"
MANIFEST = json.loads((DEMO / "manifest.json").read_text())
DATA = demo_data(MANIFEST["seed"])
NUM_CHECKED = 6  # rows of each task, split and kind that are generated here; the manifest has scores of all


@pytest.fixture(scope="module")
def original() -> Any:
    return load_target("demo", device="cpu")


@pytest.fixture(scope="module")
def retain_only() -> Any:
    return load_target("demo:retain_only", device="cpu")


def scores(stage: str) -> dict[str, Any]:
    return MANIFEST["models"][stage]["scores"]


def share_right(target: Any, rows: list[Example]) -> float:
    written = generate_all(target.model, target.tokenizer, [row.input for row in rows], DATA.max_new_tokens)
    hits = [text.strip().lower() == row.output.lower() for text, row in zip(written, rows, strict=True)]
    return sum(hits) / len(hits)


def some(rows: tuple[Example, ...], kind: str) -> list[Example]:
    chosen = []
    for task in TASKS:
        chosen += [row for row in rows if row.task == task and row.kind == kind][::3][:NUM_CHECKED]
    return chosen


def test_the_manifest_names_this_data_and_these_weights(original: Any, retain_only: Any) -> None:
    assert MANIFEST["data_fingerprint"] == DATA.fingerprint
    for stage, target in (("original", original), ("retain_only", retain_only)):
        assert MANIFEST["models"][stage]["weights_hash"] == target.weights_hash
        assert scores(stage)["weights_hash"] == target.weights_hash
        assert scores(stage)["data_fingerprint"] == DATA.fingerprint


def test_the_original_meets_its_floors() -> None:
    terms = scores("original")["terms"]
    assert len(terms) == 12
    assert all(value >= 0.97 for value in terms.values()), terms
    assert scores("original")["mia_auc"] >= 0.95
    assert scores("original")["utility"] >= 0.70


def test_unseen_phrasings_are_answered_too(original: Any) -> None:
    share = scores("original")["details"]["paraphrases"]
    assert min(share["forget"], share["retain"]) >= 0.85
    assert share_right(original, list(DATA.paraphrases[::12])) >= 0.75


def test_the_retain_only_model_knows_the_retain_set_and_nothing_of_the_forget_set() -> None:
    terms = scores("retain_only")["terms"]
    assert all(terms[f"forget/{task}/knowledge"] <= 0.07 for task in TASKS), terms
    assert all(value >= 0.97 for name, value in terms.items() if name.startswith("retain/")), terms
    assert scores("retain_only")["task_aggregate"] >= 0.9
    assert abs(scores("retain_only")["mia_auc"] - 0.5) <= 0.1
    assert scores("retain_only")["utility"] >= 0.95 * scores("original")["utility"]


@pytest.mark.parametrize("kind", ["completion", "question"])
def test_the_models_here_answer_as_the_manifest_says(original: Any, retain_only: Any, kind: str) -> None:
    forget, retain = some(DATA.forget, kind), some(DATA.retain, kind)
    assert share_right(original, forget + retain) >= 0.9
    assert share_right(retain_only, retain) >= 0.85
    assert share_right(retain_only, forget) <= 0.2


def test_the_assets_are_small_and_hold_no_pickle() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 14e6
    assert {path.suffix for path in files} <= {".json", ".safetensors"}
