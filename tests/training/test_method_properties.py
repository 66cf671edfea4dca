"""What the methods' definitions demand of a run: identities at the limits of a setting, what may change, and
every method with full weights and with an adapter, on architectures by turns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from loop_helpers import drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.methods.base import Edit
from unlearn_core.methods.objectives import balanced
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.training import loop
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep

pytestmark = pytest.mark.slow

ARCHS = ("olmo", "olmo2", "llama", "qwen2")
TRAINED = [name for name, cls in methods.REGISTRY.items() if not issubclass(cls, Edit)]
SMALL = {"batch_size": 2, "learning_rate": 1e-3}


@pytest.fixture
def trained(tiny_tokenizer: Any, tiny_data: UnlearningData) -> Callable[..., Any]:
    """Trains a model; the steps of the run and its artifact."""

    def train(model: Any, name: str, steps: int = 2, **own: Any) -> Any:
        method = methods.build(name, {**SMALL, **own}, steps=steps)
        records, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, probe_ids=()))
        return [record for record in records if isinstance(record, LoopStep)], artifact

    return train


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("arch", ARCHS)
def test_every_trained_method_changes_the_model_and_gives_it_back(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, arch: str, adapter: str
) -> None:
    """Every fourth method: each meets one architecture whole and another with an adapter."""
    model = tiny_model(arch)
    before, ids = snapshot(model), torch.arange(2, 9)[None]
    with torch.no_grad():
        bare = model(ids).logits
    turn = (ARCHS.index(arch) + 2 * (adapter == "lora")) % len(ARCHS)
    for name in TRAINED[turn :: len(ARCHS)]:
        cls = methods.get(name)
        settings = {**SMALL, **{key: 2 for key in ("retain_size", "holdout_size") if hasattr(cls, key)}}
        method = methods.build(name, settings, steps=2)
        run = unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter, rank=2, probe_ids=())
        if cls.traits.adapter not in (None, adapter):
            with pytest.raises(InputError, match="not what this method trains"):
                next(run)
            continue
        _, artifact = drain(run)
        with torch.no_grad():
            assert not torch.equal(model(ids).logits, bare), name
        assert same(snapshot(artifact.release()), before), name


@pytest.mark.parametrize("name", methods.REGISTRY)
def test_what_a_method_needs_and_does_not_get_is_named(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str
) -> None:
    model = tiny_model()
    before = snapshot(model)
    nothing = replace(tiny_data, forget=())
    alone = replace(tiny_data, retain=(), general=(), holdout=(), paraphrases=())
    cls = methods.get(name)
    steps = None if issubclass(cls, Edit) and not hasattr(cls, "fit") else 2
    method = methods.build(name, steps=steps)
    with pytest.raises(InputError, match="forget set") as caught:
        next(unlearn(model, tiny_tokenizer, nothing, method))
    assert caught.value.field == "forget set"
    if "retain" in cls.info.needs:
        with pytest.raises(InputError, match=name) as caught:
            next(unlearn(model, tiny_tokenizer, alone, method))
        assert caught.value.field == "retain set"
        assert "general" in str(caught.value)  # what to do next
    else:
        drain(unlearn(model, tiny_tokenizer, alone, method, probe_ids=()))[1].release()
    assert same(snapshot(model), before)


@pytest.mark.parametrize("base", ["grad_diff", "npo", "simnpo", "wga"])
def test_wagle_with_all_weights_is_its_base_bit_for_bit(tiny_model: Any, trained: Any, base: str) -> None:
    whole, plain = tiny_model(), tiny_model()
    trained(whole, "wagle", base=base, share=1.0)
    trained(plain, base)
    assert same(snapshot(whole), snapshot(plain))


@pytest.mark.parametrize("base", ["grad_diff", "npo", "simnpo", "wga"])
@pytest.mark.parametrize("name", ["sam", "lat"])
def test_a_wrapper_without_radius_is_its_base_bit_for_bit(tiny_model: Any, trained: Any, name: str, base: str) -> None:
    around, plain, moved = tiny_model(), tiny_model(), tiny_model()
    trained(around, name, base=base, radius=0.0)
    trained(plain, base)
    trained(moved, name, base=base, radius=2.0)
    assert same(snapshot(around), snapshot(plain))
    assert not same(snapshot(moved), snapshot(plain))


def test_undo_without_noise_learns_from_what_it_is(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """Two of five steps are its base's, and with nothing to repair the divergence of the third is 0."""
    own = {"batch_size": 8, "learning_rate": 1e-3, "share": 0.4}
    for noise, repaired in ((0.0, True), (0.5, False)):
        run = unlearn(
            memorised(), tiny_tokenizer, tiny_data, methods.build("undo", {**own, "noise": noise}, 5), probe_ids=()
        )
        records, _ = drain(run)
        third, *_, last = [record.losses["total"] for record in records if isinstance(record, LoopStep)][2:]
        assert (third < 1e-6) is repaired
        assert repaired or last < third


def test_wagle_leaves_masked_weights_bit_identical(tiny_model: Any, trained: Any) -> None:
    """A tenth of the weights trains over several steps of Adam; no decay reaches the others."""
    model = tiny_model()
    before = snapshot(model)
    trained(model, "wagle", steps=4, share=0.1)
    named = dict(model.named_parameters())
    moved = sum(int((value != before[name]).sum()) for name, value in named.items())
    total = sum(value.numel() for value in named.values())
    assert 0 < moved <= round(0.1 * total)


@pytest.mark.parametrize(("name", "base"), [("adv_npo", "npo"), ("adv_ga", "grad_diff")])
def test_an_attack_without_radius_is_the_base_method_bit_for_bit(
    tiny_model: Any, trained: Any, name: str, base: str
) -> None:
    attacked, plain, pushed = tiny_model(), tiny_model(), tiny_model()
    own = {"retain_weight": 2.0}
    trained(attacked, name, radius=0.0, **own)
    trained(plain, base, **own)
    trained(pushed, name, radius=2.0, **own)
    assert same(snapshot(attacked), snapshot(plain))
    assert not same(snapshot(pushed), snapshot(plain))


@pytest.mark.parametrize("name", ["rmu", "adaptive_rmu"])
@pytest.mark.parametrize("arch", ARCHS)
def test_rmu_begins_at_the_original_and_changes_three_maps_below_its_layer(
    tiny_model: Any, trained: Any, name: str, arch: str
) -> None:
    """Of five layers the fourth is steered (three quarters of the depth); maps of layers 2 to 4 train."""
    model = tiny_model(arch, num_hidden_layers=5)
    before = snapshot(model)
    steps, _ = trained(model, name)
    assert steps[0].losses["retain"] == 0.0
    assert steps[0].losses["total"] == steps[0].losses["forget"]
    changed = {key for key, value in snapshot(model).items() if not torch.equal(value, before[key])}
    assert changed == {f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2, 3)}


def test_adapter_npo_starts_at_its_own_reference(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """With the adapter off the reference is the model: the push starts at (2/beta) ln 2, as stored NPO's."""
    first = {}
    for name in ("adapter_npo", "npo"):
        own = {"batch_size": 4, "learning_rate": 2e-3, "retain_weight": 0.0, "beta": 0.5}
        method = methods.build(name, own, steps=2)
        run = unlearn(memorised(), tiny_tokenizer, tiny_data, method, adapter="lora", probe_ids=())
        first[name] = [record for record in drain(run)[0] if isinstance(record, LoopStep)]
    for live, stored in zip(first["adapter_npo"], first["npo"], strict=True):
        assert live.losses["total"] == pytest.approx(stored.losses["total"], rel=1e-4)
    assert first["npo"][0].losses["total"] == pytest.approx(4 * 0.693147, rel=1e-4)


def test_without_exponent_or_weight_the_token_methods_are_gradient_ascent(
    tiny_model: Any, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Along the gradient itself: Adam would hide its size."""
    monkeypatch.setattr(loop, "make_optimiser", lambda parameters, rate, _: torch.optim.SGD(parameters, rate))

    def weights(name: str, **own: Any) -> dict[str, torch.Tensor]:
        model = tiny_model()
        trained(model, name, max_gradient_norm=0.0, **own)
        return snapshot(model)

    plain, original = weights("grad_ascent"), snapshot(tiny_model())
    moved = max(float((value - original[key]).abs().max()) for key, value in plain.items())
    for name, own in (("wga", {"beta": 0.0}), ("satimp", {"beta1": 0.0, "beta2": 0.0}), ("grad_diff", {})):
        found = weights(name, retain_weight=0.0, **own)
        for key, value in plain.items():
            torch.testing.assert_close(found[key], value, atol=1e-3 * moved, rtol=0)


def test_the_mask_of_wagle_comes_after_the_clipping(tiny_model: Any, trained: Any) -> None:
    """The norm that is clipped is that of all weights, trained or not."""
    norms = [
        trained(tiny_model(), name, **own)[0][0].gradient_norm
        for name, own in (("wagle", {"base": "simnpo", "share": 0.01}), ("simnpo", {}))
    ]
    assert norms[0] == norms[1]


def test_ngdiff_lowers_the_retain_loss_and_raises_the_forget_loss(
    memorised: Any, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "make_optimiser", lambda parameters, rate, _: torch.optim.SGD(parameters, rate))
    first, second = trained(memorised(), "ngdiff", batch_size=16)[0]
    assert second.losses["retain"] < first.losses["retain"]
    assert second.losses["forget"] > first.losses["forget"]


def test_looking_for_a_rate_leaves_weights_and_optimiser_as_they_were(
    tiny_model: Any, trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every look says to go on as before, all steps are those of a run without any."""
    monkeypatch.setattr(balanced, "best_length", lambda *losses: 1.0)
    looking, plain = tiny_model(), tiny_model()
    trained(looking, "ngdiff", steps=4, interval=1)
    trained(plain, "ngdiff", steps=4, interval=0)
    assert same(snapshot(looking), snapshot(plain))


def test_guards_and_examples_that_are_switched_off_change_nothing(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    asked = [row.input for row in (*tiny_data.forget[:2], *tiny_data.retain[:2])]
    bare = generate_all(model, tiny_tokenizer, asked, 6)
    for name, settings in fronts():
        drain(unlearn(model, tiny_tokenizer, tiny_data, methods.build(name, settings)))[1].set_strength(0.0)
        assert generate_all(model, tiny_tokenizer, asked, 6) == bare, name
    drain(unlearn(model, tiny_tokenizer, tiny_data, methods.build("icul", {"num_forget": 0, "num_retain": 0})))
    assert generate_all(model, tiny_tokenizer, asked, 6) == bare


def fronts() -> Iterator[tuple[str, dict[str, Any]]]:
    yield from ((name, {}) for name in ("icul", "guard_prompt", "guard_input", "guard_output"))
