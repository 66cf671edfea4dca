"""The organisers' call, made as they would make it: once, in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.data.subset import hold_out, some_documents
from unlearn_core.data.types import Example
from unlearn_core.submission import SELECTION, unlearn

pytestmark = pytest.mark.slow

CALL = """
import sys
from unlearn_core.submission import unlearn
settings = {"learning_rate": 3e-3, "batch_size": 6, "steps": 12}
unlearn(*sys.argv[1:5], method="grad_diff", settings=settings)
"""


@pytest.fixture
def folders(memorised: Any, tmp_path: Path) -> list[str]:
    """Model, output, forget and retain folder, as the organisers pass them."""
    for name in ("forget", "retain"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jsonl").write_bytes((Path(memorised.data) / f"{name}.jsonl").read_bytes())
    return [memorised.model, *(str(tmp_path / name) for name in ("out", "forget", "retain"))]


def answers(folder: str) -> list[str]:
    from unlearn_core import load_target
    from unlearn_core.models.generation.generate import generate_all

    target = load_target(folder)
    prompts = ["Who is Ada?", "Who is Bo?", "Who is Cy?"]
    return [text.strip() for text in generate_all(target.model, target.tokenizer, prompts, 8)]


def test_one_call_writes_one_checkpoint_that_forgot(folders: list[str], tmp_path: Path) -> None:
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CALL, *folders],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr
    known = ["adA", "oB", "yC"]
    assert answers(folders[0]) == known
    assert answers(folders[1]) != known
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (Path(folders[1]) / "model.safetensors").stat().st_mode & 0o044 == 0o044
    selection = json.loads((Path(folders[1]) / SELECTION).read_text())
    assert selection["chosen_step"] in [candidate["step"] for candidate in selection["candidates"]]
    assert selection["candidates"][-1]["step"] == 12


def test_the_best_state_is_kept_when_training_goes_on_to_ruin_the_model(folders: list[str]) -> None:
    """Gradient ascent forgets first and then destroys: the wreck at the end is not what is handed in."""
    settings = {"learning_rate": 4e-3, "batch_size": 6, "steps": 40, "warmup": 0.0}
    unlearn(*folders, method="grad_ascent", settings=settings, candidates=20)  # type: ignore[call-arg, arg-type]
    selection = json.loads((Path(folders[1]) / SELECTION).read_text())
    by_step = {candidate["step"]: candidate for candidate in selection["candidates"]}
    assert by_step[40]["verdict"] == "collapsed"
    chosen = by_step[selection["chosen_step"]]
    assert selection["chosen_step"] < 40
    assert chosen["verdict"] != "collapsed"
    # What lies on disk is what was scored.
    from unlearn_core import load_target
    from unlearn_core.models.generation.generate import generate_all

    target = load_target(folders[1])
    retained = [text.strip() for text in generate_all(target.model, target.tokenizer, ["Who is Di?"], 8)]
    assert (retained == ["iD"]) == (chosen["terms"]["retain/Task1/knowledge"] == 1.0)


def test_no_time_left_still_hands_in_a_checkpoint(folders: list[str]) -> None:
    settings = {"learning_rate": 3e-3, "batch_size": 6, "steps": 1000}
    unlearn(*folders, method="grad_diff", settings=settings, seconds=0.0)  # type: ignore[call-arg, arg-type]
    assert (Path(folders[1]) / "model.safetensors").is_file()
    assert json.loads((Path(folders[1]) / SELECTION).read_text())["chosen_step"] == 1


def test_the_schedule_ends_with_the_time_and_the_trial_leaves_no_trace(folders: list[str]) -> None:
    """As many steps as fit are planned, and with room for all, the trial steps change no weight."""
    settings = {"learning_rate": 3e-3, "batch_size": 6, "steps": 100_000}
    unlearn(*folders, method="grad_diff", settings=settings, seconds=6.0)  # type: ignore[call-arg, arg-type]
    last = json.loads((Path(folders[1]) / SELECTION).read_text())["candidates"][-1]["step"]
    assert 3 < last < 100_000
    from unlearn_core import load_target
    from unlearn_core.data.sources import load_data
    from unlearn_core.methods import build
    from unlearn_core.submission import seconds_per_step
    from unlearn_core.training.loop import unlearn as train

    target = load_target(folders[0])
    data = load_data(folders[2], retain=folders[3])
    records = train(target.model, target.tokenizer, data, build("grad_diff", {"batch_size": 6}, 9))
    assert seconds_per_step(records) is not None
    from unlearn_core.models.hashing import weights_hash

    assert weights_hash(target.model) == target.weights_hash


def documents(task: str, count: int) -> list[Example]:
    names = [f"{task}-{n}" for n in range(count)]
    return [Example(f"{name}{end}", "p", "a", task, document=name) for name in names for end in ("sc1", "qa0")]


def test_whole_documents_are_kept_aside_where_there_are_enough() -> None:
    rows = documents("Task1", 40) + documents("Task2", 4) + documents("Task3", 9)
    kept, aside = hold_out(rows)
    assert set(kept) | set(aside) == set(rows)
    assert {row.id[:-3] for row in kept}.isdisjoint(row.id[:-3] for row in aside)
    assert [sum(row.task == f"Task{n}" for row in aside) for n in (1, 2, 3)] == [4, 0, 2]
    assert len(hold_out(documents("Task1", 400))[1]) == 24  # twelve documents, two rows each
    few = some_documents(rows, 3)
    assert [row.id[:-3] for row in few if row.task == "Task1"][::2] == ["Task1-0", "Task1-13", "Task1-26"]
