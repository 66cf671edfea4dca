"""IA3 negation, TIES merging and SKU: the arithmetic, on numbers and on a model that knows its data."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import chance, drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.encode import encode_example
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.weights.merging import ties, trim
from unlearn_core.models.adapters import lora_layers
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import FactProbe, LoopStep


def run(model: Any, tokenizer: Any, data: UnlearningData, name: str, steps: int, **settings: Any) -> Any:
    method = methods.build(name, settings, steps=steps)
    records, artifact = drain(unlearn(model, tokenizer, data, method))
    return [record for record in records if isinstance(record, FactProbe)], artifact


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
        torch.testing.assert_close(found[2.0][key] - value, 2 * (found[1.0][key] - value), atol=1e-6, rtol=1e-3)


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


def test_lora_negation_mirrors_the_trained_change(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """W - strength (a/r) B A in every matrix; the sign of both factors turned is no change at all."""
    changes = {}
    for strength in (1.0, 2.5):
        model = tiny_model()
        before = snapshot(model)
        _, artifact = run(model, tiny_tokenizer, tiny_data, "pem_lora", 3, batch_size=4, strength=strength)
        trained = {f"{name}.weight": layer for name, layer in lora_layers(model)}
        ids = torch.arange(2, 12)[None]
        with torch.no_grad():
            product = {
                name: layer.lora_B["lethe"].weight @ layer.lora_A["lethe"].weight for name, layer in trained.items()
            }
            scale = {name: layer.scaling["lethe"] for name, layer in trained.items()}
            logits = model(ids).logits
            for layer in trained.values():
                layer.lora_A["lethe"].weight.neg_()
                layer.lora_B["lethe"].weight.neg_()
            torch.testing.assert_close(model(ids).logits, logits)
        changes[strength] = {name: scale[name] * product[name] for name in product}
        assert all(factor < 0 for factor in scale.values())
        assert same(snapshot(artifact.release()), before)
    assert any(change.abs().max() > 1e-4 for change in changes[1.0].values())
    for name, change in changes[1.0].items():
        torch.testing.assert_close(changes[2.5][name], 2.5 * change, atol=1e-6, rtol=1e-4)


def test_a_task_vector_reaches_every_weight_and_says_more_than_a_random_one(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """A random direction as long as it, matrix by matrix, leaves the forget answers far likelier."""
    model = memorised()
    before = snapshot(model)
    own = {"batch_size": 12, "learning_rate": 2e-3, "strength": 4.0}
    probes, _ = run(model, tiny_tokenizer, tiny_data, "task_vector", 16, **own)
    parameters = dict(model.named_parameters())
    assert all(not torch.equal(p, before[name]) for name, p in parameters.items())
    negated = chance(probes[-1], "forget")
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in parameters.items():
            noise = torch.randn(p.shape, generator=drawn)
            p.copy_(before[name] + noise * (p - before[name]).norm() / noise.norm())
    rows = [encode_example(tiny_tokenizer, row, n) for n, row in enumerate(tiny_data.forget)]
    random = sum(math.exp(-trace.nll) for trace in all_traces(model, rows, 1)) / len(rows)
    assert negated < 0.5 * random
    assert random > 0.3 * chance(probes[0], "forget")


def test_sku_begins_without_preservation_and_its_distortion_is_fine_tuning(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """KL to the original is 0 with slope 0 at first, so its weight does not matter to the first step."""

    def first(name: str, **own: Any) -> LoopStep:
        method = methods.build(name, {"batch_size": 12, **own}, steps=2)
        loop = unlearn(memorised(), tiny_tokenizer, tiny_data, method, probe_ids=())
        found = next(record for record in loop if isinstance(record, LoopStep))
        loop.close()
        return found

    with_it, without = (first("sku", preservation=weight) for weight in (1.0, 0.0))
    assert with_it.losses["total"] == pytest.approx(without.losses["total"], abs=1e-5)
    assert with_it.gradient_norm == pytest.approx(without.gradient_norm, rel=1e-3)
    alone = first("sku", preservation=0.0, disassociation=0.0, distortion=1.0)
    plain = first("task_vector")
    assert alone.losses["total"] == pytest.approx(plain.losses["total"], rel=1e-4)
    assert alone.gradient_norm == pytest.approx(plain.gradient_norm, rel=1e-3)


def test_the_trained_model_and_the_negated_one_lie_even_about_the_original(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """(theta(1) + theta_bad) / 2 = theta for SKU, whose theta_bad is rescaled back by -1."""
    model = tiny_model()
    before = snapshot(model)
    _, artifact = run(model, tiny_tokenizer, tiny_data, "sku", 2, batch_size=4, strength=1.0)
    negated = snapshot(model)
    artifact.rescale(-1.0, 1.0)
    for key, bad in snapshot(model).items():
        torch.testing.assert_close((bad + negated[key]) / 2, before[key], atol=1e-6, rtol=1e-5)
    assert not same(negated, before)
