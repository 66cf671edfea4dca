"""The organisers' call, made as they would make it: once, in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

CALL = """
import sys
from unlearn_core.submission import unlearn
settings = {"learning_rate": 3e-3, "batch_size": 6, "steps": 12}
unlearn(*sys.argv[1:5], method="grad_diff", settings=settings, save_every=0.0)
"""


def test_one_call_writes_one_checkpoint_that_forgot(memorised: Any, tmp_path: Path) -> None:
    forget, retain = tmp_path / "forget", tmp_path / "retain"
    for folder in (forget, retain):
        folder.mkdir()
        name = f"{folder.name}.jsonl"
        (folder / name).write_bytes((Path(memorised.data) / name).read_bytes())
    out = tmp_path / "out"
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CALL, memorised.model, str(out), str(forget), str(retain)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    from unlearn_core import load_target
    from unlearn_core.models.generate import generate_all

    before, after = load_target(memorised.model), load_target(str(out))
    assert before.weights_hash != after.weights_hash
    prompts, answers = ["Who is Ada?", "Who is Bo?", "Who is Cy?"], ["adA", "oB", "yC"]
    said = [
        [text.strip() for text in generate_all(target.model, target.tokenizer, prompts, 8)]
        for target in (before, after)
    ]
    assert said[0] == answers
    assert said[1] != answers
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
