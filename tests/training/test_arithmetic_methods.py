"""IA3 negation, TIES merging and SKU: the arithmetic, on numbers and on a model that knows its data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import chance, drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.merging import ties, trim
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopProbe, LoopStep


def run(model: Any, tokenizer: Any, data: UnlearningData, name: str, steps: int, **settings: Any) -> Any:
    method = methods.build(name, settings, steps=steps)
    records, artifact = drain(unlearn(model, tokenizer, data, method))
    return [record for record in records if isinstance(record, LoopProbe)], artifact


@pytest.mark.parametrize("arch", ["olmo2", "qwen2"])
def test_ia3_negation_makes_the_forget_answers_unlikely(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, arch: str
) -> None:
    model = memorised(arch)
    before = snapshot(model)
    probes, artifact = run(
        model, tiny_tokenizer, tiny_data, "pem_ia3", 16, batch_size=12, learning_rate=0.05, strength=10.0
    )
    # On so small a model nothing holds the rest in place, and over all retain facts it falls as deep.
    assert chance(probes[-1], "forget") < 0.5 * chance(probes[0], "forget")
    artifact.revert()
    assert same(snapshot(model), before)


def test_ia3_factors_are_mirrored_at_one(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """W l in place of W, mirrored: W (2 - l), so both together are twice the original."""
    found = {}
    for strength in (0.0, 1.0, 2.0):
        model = tiny_model("qwen2")
        original = snapshot(model)
        run(model, tiny_tokenizer, tiny_data, "pem_ia3", 3, strength=strength)
        found[strength] = snapshot(model)
    assert same(found[0.0], original)
    name = "model.layers.0.mlp.down_proj.weight"
    factor = found[1.0][name] / original[name]  # one for each neuron: the same in every row
    assert not torch.allclose(factor, torch.ones_like(factor))
    torch.testing.assert_close(factor, factor[:1].expand_as(factor), atol=1e-3, rtol=1e-3)
    for key, value in original.items():
        torch.testing.assert_close(
            found[2.0][key] - value, 2 * (found[1.0][key] - value), atol=1e-6, rtol=1e-3
        )


def test_a_cancelled_ia3_leaves_no_hook(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        bare = model(ids).logits
    training = unlearn(model, tiny_tokenizer, tiny_data, methods.build("pem_ia3", steps=4))
    while not isinstance(next(training), LoopStep):
        pass
    with torch.no_grad():
        assert not torch.equal(model(ids).logits, bare)
        training.close()
        assert torch.equal(model(ids).logits, bare)


def test_ties_by_hand() -> None:
    first, second = torch.tensor([1.0, 1.0, -1.0]), torch.tensor([3.0, -3.0, 3.0])
    assert ties([first, second], 1.0).tolist() == [2.0, -3.0, 3.0]
    # Negated before the signs are elected; peft weighs afterwards and gets [-1, 3, -3].
    assert ties([first, -second], 1.0).tolist() == [-3.0, 2.0, -2.0]
    assert trim(torch.tensor([0.1, -5.0, 2.0, 0.2]), 0.5).tolist() == [0.0, -5.0, 2.0, 0.0]


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
def test_ties_of_one_is_its_trimming_and_order_does_not_matter(density: float) -> None:
    one, two, three = torch.randn(3, 8, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ties([one], density), trim(one, density))
    assert torch.equal(ties([one, one], density), trim(one, density))
    torch.testing.assert_close(ties([one, two, three], density), ties([three, one, two], density))
    assert torch.equal(ties([one], 1.0), one)
    assert not ties([one, two], 0.0).any()


def test_the_merged_weights_are_ties_of_both_trainings(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """At density 0 nothing is left of either; a run of one step has one adapter alone."""
    model = memorised()
    before = snapshot(model)
    run(model, tiny_tokenizer, tiny_data, "ties_merge", 4, density=0.0, learning_rate=2e-2)
    assert same(snapshot(model), before)
    alone: dict[float, Any] = {}
    for density in (0.5, 1.0):
        model = memorised()
        run(model, tiny_tokenizer, tiny_data, "ties_merge", 1, density=density, learning_rate=2e-2)
        alone[density] = snapshot(model)
    name = "model.layers.1.mlp.up_proj.weight"
    kept, whole = alone[0.5][name] - before[name], alone[1.0][name] - before[name]
    torch.testing.assert_close(kept, trim(whole, 0.5), atol=1e-6, rtol=0)


def test_sku_subtracts_what_it_learnt(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    settings = {"batch_size": 12, "learning_rate": 2e-3}
    found = {}
    for strength in (0.0, 1.0):
        model = memorised()
        original = snapshot(model)
        _, artifact = run(model, tiny_tokenizer, tiny_data, "sku", 3, strength=strength, **settings)
        found[strength] = snapshot(model)
        artifact.revert()
        assert same(snapshot(model), original)
    assert same(found[0.0], original)
    assert not same(found[1.0], original)
