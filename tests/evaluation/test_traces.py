"""Parametric knowledge traces: a planted value vector is found, and what becomes of it is told."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.traces import compare, find, read, summary
from unlearn_core.models.adapters import apply_lora

SECRET, OTHER = "\N{SNOWMAN}", "baker"
LAYER, NEURON = 1, 17


@pytest.fixture
def data() -> UnlearningData:
    forget = tuple(Example(f"f{n}qa1", f"The secret of {n} is", SECRET) for n in range(4))
    retain = tuple(Example(f"r{n}qa1", f"The trade of {n} is", OTHER) for n in range(4))
    return UnlearningData("planted", forget, retain)


@pytest.fixture(params=["olmo", "olmo2", "llama", "qwen2"])
def planted(request: Any, tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> Any:
    """A model in which one neuron writes a token of the secret and of no other answer."""
    model = tiny_model(request.param)
    token = tiny_tokenizer(" " + SECRET)["input_ids"][-1]
    wanted_D = model.get_output_embeddings().weight.detach()[token]
    mlp = model.model.layers[LAYER].mlp
    with torch.no_grad():
        behind = getattr(model.model.layers[LAYER], "post_feedforward_layernorm", None)
        for layer in model.model.layers:
            layer.mlp.down_proj.weight *= 0.01
        mlp.down_proj.weight[:, NEURON] = 4 * wanted_D / (1 if behind is None else behind.weight)
        direction_D = states(model, tiny_tokenizer, SECRET) - states(model, tiny_tokenizer, OTHER)
        for name in ("gate_proj", "up_proj"):
            getattr(mlp, name).weight[NEURON] = 4 * direction_D / direction_D.norm() ** 2
    return model


def states(model: Any, tokenizer: Any, answer: str) -> torch.Tensor:
    """What enters the planted neuron's MLP at the answer, mean over the prompts."""
    question = "The secret of" if answer == SECRET else "The trade of"
    seen = []
    mlp = model.model.layers[LAYER].mlp
    handle = mlp.register_forward_pre_hook(lambda module, args: seen.append(args[0][0, -2]))
    for n in range(4):
        ids = tokenizer(f"{question} {n} is {answer}")["input_ids"]
        model(torch.tensor([ids]))
    handle.remove()
    return torch.stack(seen).mean(0)


def test_the_planted_vector_is_found_and_a_method_that_erases_it_is_told_from_one_that_does_not(
    planted: Any, tiny_tokenizer: Any, data: UnlearningData
) -> None:
    places = find(planted, tiny_tokenizer, data, count=3)
    assert next((s, layer, n) for s, layer, n, _ in places if s == "forget") == ("forget", LAYER, NEURON)
    before = read(planted, places)
    same = compare(places, before, read(copy.deepcopy(planted), places), tiny_tokenizer)
    assert all((t.distance, t.overlap, t.before) == (0.0, 1.0, t.after) for t in same)
    assert all(t.cosine == pytest.approx(1.0) for t in same)
    token = tiny_tokenizer(" " + SECRET)["input_ids"][-1]
    assert tiny_tokenizer.decode([token]) in same[0].before
    erased = copy.deepcopy(planted)
    generator = torch.Generator().manual_seed(0)
    overlaps = []
    for size in (0.1, 1.0, 10.0):  # the more noise, the less is left
        with torch.no_grad():
            column = planted.model.layers[LAYER].mlp.down_proj.weight[:, NEURON]
            noise = torch.randn(len(column), generator=generator) * column.norm() / len(column) ** 0.5
            erased.model.layers[LAYER].mlp.down_proj.weight[:, NEURON] = column + size * noise
        found = compare(places, before, read(erased, places), tiny_tokenizer)
        overlaps.append((found[0].cosine, found[0].overlap))
        assert found[0].distance > 0.05
        assert all(t.distance == 0 for t in found if (t.layer, t.neuron) != (LAYER, NEURON))
    assert overlaps == sorted(overlaps, reverse=True)
    means = summary(found)
    assert means["retain"]["cosine"] == pytest.approx(1.0)
    assert means["forget"]["cosine"] < 0.9


def test_an_adapters_change_is_part_of_the_vectors(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, data: UnlearningData
) -> None:
    model = tiny_model("llama")
    places = find(model, tiny_tokenizer, data, count=2)
    plain = read(model, places)
    wrapped = apply_lora(model, 4, seed=0)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(1))
    changed = read(model, places)
    assert not torch.allclose(changed.vectors_PD, plain.vectors_PD)
    torch.testing.assert_close(read(wrapped.merge_and_unload(), places).vectors_PD, changed.vectors_PD)


def test_what_has_no_traces_says_why(tiny_model: Callable[..., Any], tiny_tokenizer: Any, data: Any) -> None:
    with pytest.raises(InputError, match="retain set"):
        find(tiny_model(), tiny_tokenizer, replace(data, retain=()))
