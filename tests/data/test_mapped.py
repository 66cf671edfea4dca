"""Many rows lie in a file and not in memory, and nobody who reads them can tell."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unlearn_core.data.rows import mapped
from unlearn_core.data.rows.mapped import MappedRecords, kept
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.methods import build
from unlearn_core.training.loop import LoopStep, unlearn


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows are many."""
    monkeypatch.setattr(mapped, "MAPPED_FROM", 3)


def test_records_come_back_as_they_were(few: None) -> None:
    rows = tuple(Example(f"a{i}sc0", f"prompt {i}\u2028", "answer" * i, "Task2") for i in range(2500))
    found = kept(iter(rows))
    assert isinstance(found, MappedRecords)
    assert tuple(found) == rows
    assert found[-1] == rows[-1]
    assert found[5:2:-1] == rows[5:2:-1]
    with pytest.raises(IndexError):
        found[2500]
    assert kept(rows[:2]) == rows[:2]


def test_the_file_goes_with_its_last_reader(few: None) -> None:
    found = kept([Example(str(i), "a", "b") for i in range(9)])
    assert isinstance(found, MappedRecords)
    folder = Path(found._folder.name)
    assert list(folder.iterdir())
    del found
    assert not folder.exists()


def test_a_large_file_is_the_same_data(few: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"input": f"Who is {i}?", "output": f"No {i}"}) + "\n" for i in range(40)))
    large = load_data(str(path))
    assert isinstance(large.forget, MappedRecords)
    monkeypatch.setattr(mapped, "MAPPED_FROM", 1000)
    small = load_data(str(path))
    assert isinstance(small.forget, tuple)
    assert large.fingerprint == small.fingerprint


def test_training_on_mapped_sequences_is_the_same_training(
    tiny_model: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = []
    for most in (1000, 2):
        monkeypatch.setattr(mapped, "MAPPED_FROM", most)
        model = tiny_model()
        method = build("grad_diff", {"batch_size": 4}, 2)
        records = list(unlearn(model, tiny_tokenizer, tiny_data, method, adapter="full", probe_ids=()))
        assert sum(isinstance(record, LoopStep) for record in records) == 2
        ends.append({name: p.detach().clone() for name, p in model.named_parameters()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
