"""lm-evaluation-harness on a model loaded here: a task of one's own, offline, where the extra is installed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from unlearn_core.cli import main

TASK = """task: tiny_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: answer
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1
"""


def test_without_the_extra_it_says_how_to_get_it(
    saved_model: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    assert main(["eval", "--protocol", "lm-eval", "--model", saved_model(), "--task", "gsm8k"]) == 2
    assert "pip install lm-eval" in capsys.readouterr().err
    assert main(["eval", "--protocol", "lm-eval", "--model", "demo"]) == 2
    assert main(["eval", "--model", "demo"]) == 2
    assert "--data" in capsys.readouterr().err


def test_a_task_of_one_s_own_has_the_harness_s_number(saved_model: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    rows = [{"question": f"What is {i}?", "choices": ["one", "two"], "answer": i % 2} for i in range(6)]
    data, out = tmp_path / "rows.jsonl", tmp_path / "o.json"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tiny.yaml").write_text(TASK.format(data=data))
    arguments = ["eval", "--protocol", "lm-eval", "--model", saved_model(), "--data", str(tmp_path / "tasks")]
    assert main([*arguments, "--task", "tiny_choice", "--json", str(out)]) == 0
    (term,) = json.loads(out.read_text())["terms"]
    assert term["name"].startswith("tiny_choice/acc")
    assert (term["n"], term["higher_is_better"]) == (6, True)
    assert term["value"] * 6 == pytest.approx(round(term["value"] * 6))
    assert main([*arguments, "--task", "no_such_task"]) == 2
