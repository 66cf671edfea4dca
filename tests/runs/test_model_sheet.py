"""The model sheet tells what a model allows; a run says what is switched off."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from zoo import POSITIONS, WINDOW, tiny

from unlearn_core.models.hashing import weights_hash
from unlearn_core.runs.model_sheet import adapter_line, limits, read_sheet, sentences, text_lines

NAMES = ("causal", "padded", "packed", "head", "together", "layers", "neurons", "adapter")
ALL = frozenset(NAMES)


@pytest.mark.parametrize(
    ("arch", "without"),
    [
        ("llama", set()),
        ("mistral", set()),
        ("gemma2", {"head"}),
        ("cohere", {"head"}),
        ("gpt2", {"packed", "together", "neurons"}),
        ("bloom", {"packed", "together"}),
        ("mamba", {"packed", "together", "neurons", "adapter"}),
        ("qwen3_next", {"packed", "together", "neurons"}),
        ("mixtral", {"neurons"}),
        ("hrm_text", {"layers", "neurons"}),
    ],
)
def test_the_sheet_of_a_model(arch: str, without: set[str]) -> None:
    model = tiny(arch)
    before = weights_hash(model)
    lines = dict(zip(NAMES, read_sheet(model), strict=True))
    assert {name for name, line in lines.items() if line.holds} == ALL - without
    assert weights_hash(model) == before


@pytest.mark.parametrize("arch", ["llama", "olmoe", "mamba", "gpt2"])
def test_merging_an_adapter_is_tried_and_leaves_no_trace(arch: str) -> None:
    model = tiny(arch)
    before, names = weights_hash(model), [name for name, _ in model.named_parameters()]
    assert adapter_line(model).holds
    assert weights_hash(model) == before
    assert [name for name, _ in model.named_parameters()] == names


def test_an_adapter_that_a_model_reads_past_is_told() -> None:
    """A layer whose weight is used without calling it is left out; one that merges wrongly is told."""
    model = tiny("llama")
    layer = model.model.layers[0].mlp.down_proj
    layer.forward = lambda x: torch.nn.functional.linear(x, layer.weight.round())  # what a kernel may do
    assert not adapter_line(model).holds


def test_lengths_are_said_in_words() -> None:
    assert limits(tiny("llama")) == []
    assert f"It has {POSITIONS} positions" in limits(tiny("gpt2"))[0]
    assert f"Beyond {WINDOW} tokens it sees a window" in limits(tiny("mistral"))[0]


def test_the_sheet_is_for_people(tiny_model: Any, tiny_tokenizer: Any) -> None:
    target: Any = SimpleNamespace(model=tiny_model("llama"), tokenizer=tiny_tokenizer)
    told = sentences(target)
    assert "yes packed rows equal each alone" in told
    assert all(line.holds for line in text_lines(tiny_tokenizer))
