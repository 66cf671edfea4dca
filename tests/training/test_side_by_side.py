"""Halves of a step that pass the model at a time give what they give one after the other, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from loop_helpers import drain

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context
from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.generation import generate
from unlearn_core.models.inference.forward import layer_of
from unlearn_core.models.inference.frozen_bottom import frozen_below
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.models.inference.side_by_side import can_pass_together, in_turns
from unlearn_core.models.precision import compute_in
from unlearn_core.system.machine import threads
from unlearn_core.training import layout as layouts
from unlearn_core.training.layout import StepLayout, pack_parts
from unlearn_core.training.loop import unlearn
from unlearn_core.training.packing import forward, gradients


def parts() -> dict[str, list[Encoded]]:
    drawn = torch.Generator().manual_seed(0)
    rows = [
        Encoded(tuple(torch.randint(2, 300, (length,), generator=drawn).tolist()), length // 2, index)
        for index, length in enumerate((5, 9, 33, 14, 27, 7, 12, 24, 40, 6))
    ]
    return {"forget": rows[:4], "retain": rows[4:]}


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Steps of any size are cut in two."""
    monkeypatch.setattr(layouts, "HALVED_FROM", 1)
    return monkeypatch


def step(model: Any, name: str, layout: StepLayout) -> list[torch.Tensor]:
    model.zero_grad()
    reference = SimpleNamespace(nll=lambda part: torch.full((10,), 3.0))
    context: Any = Context(model, 1, 0, {}, reference, Any)  # type: ignore[arg-type]
    losses = gradients(model, methods.build(name), context, layout)
    return [losses.total.detach(), *(p.grad.clone() for p in model.parameters() if p.requires_grad)]


@pytest.mark.parametrize("name", ["grad_diff", "npo", "ngdiff"])
@pytest.mark.parametrize("arch", ["olmo2", "llama", "qwen2", "gpt_neox", "gpt2", "mixtral"])
def test_two_threads_find_the_gradient_of_one(
    tiny_model: Callable[..., Any], halved: pytest.MonkeyPatch, arch: str, name: str
) -> None:
    model = tiny_model(arch)
    layout = pack_parts(model, parts(), 1, apart=name == "ngdiff")
    assert len(layout.packs) == (3 if name == "ngdiff" else 2)
    found = {}
    for number in (1, 2):
        halved.setattr(threads, "_taken", number)
        found[number] = step(model, name, layout)
    assert all(torch.equal(one, two) for one, two in zip(found[1], found[2], strict=True))
    halved.setattr(layouts, "HALVED_FROM", 10**9)
    for one, whole in zip(found[1], step(model, name, pack_parts(model, parts(), 1)), strict=True):
        torch.testing.assert_close(one, whole, atol=1e-5, rtol=1e-3)


def test_gradients_too_large_to_keep_apart_are_added_in_turn(
    tiny_model: Callable[..., Any], halved: pytest.MonkeyPatch
) -> None:
    from unlearn_core.training import packing

    model = tiny_model()
    layout = pack_parts(model, parts(), 1)
    apart = step(model, "grad_diff", layout)
    halved.setattr(packing, "COPIED_BYTES", 0)
    assert all(torch.equal(one, two) for one, two in zip(apart, step(model, "grad_diff", layout), strict=True))


@pytest.mark.parametrize("name", ["lethe", "rmu", "lat", "uld"])
def test_a_training_of_two_threads_ends_with_the_weights_of_one(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: Any, halved: pytest.MonkeyPatch, name: str
) -> None:
    """Also where the states of layers are read, a pass ends at a layer, a shift is added in one, or a second model
    has its say in each pass."""
    ended = []
    for number in (1, 2):
        halved.setattr(threads, "_taken", number)
        model = tiny_model(num_hidden_layers=4)
        drain(unlearn(model, tiny_tokenizer, tiny_data, methods.build(name, steps=3)))
        ended.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(one, two) for one, two in zip(*ended, strict=True))


def test_halves_begin_above_frozen_layers_each_with_its_own_states(
    tiny_model: Callable[..., Any], halved: pytest.MonkeyPatch
) -> None:
    halved.setattr(threads, "_taken", 2)
    model = tiny_model("llama", num_hidden_layers=4)
    apply_lora(model, 4, trains=lambda name: (layer_of(name) or 0) >= 2)
    layout = pack_parts(model, parts(), 1)
    assert len(layout.packs) == 2
    with torch.no_grad():
        whole = forward(model, layout)
        with frozen_below(model, 2):
            for _ in range(5):
                torch.testing.assert_close(forward(model, layout), whole, atol=1e-5, rtol=1e-4)


def test_answers_and_likelihoods_of_two_threads_are_those_of_one(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, halved: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    prompts = [f"{word} {n}" * (1 + n % 3) for n in range(20) for word in ("Who is", "Where lives")]
    rows = [Encoded(tuple(range(2, 6 + n)), 2, n) for n in range(40)]
    found = []
    for number in (1, 2):
        halved.setattr(threads, "_taken", number)
        halved.setattr(generate, "HALVED_FROM", 64 if number == 1 else 2)
        texts = generate.generate_all(model, tiny_tokenizer, prompts, 12)
        found.append((texts, [trace.nll for trace in all_traces(model, rows, 1)]))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)


def test_what_comes_in_turns_ends_with_the_longest(tiny_model: Callable[..., Any]) -> None:
    found = in_turns(tiny_model(), [iter("ab"), iter("cdef"), iter("")], 1)
    assert list(found) == ["a", "c", "b", "d", "e", "f"]


def test_copies_of_weights_are_no_place_for_two(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model()
    assert can_pass_together(model, 50)
    end = compute_in(model, torch.bfloat16)
    assert not can_pass_together(model, 50)
    end()
    assert can_pass_together(model, 50)
