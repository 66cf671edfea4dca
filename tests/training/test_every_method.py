"""What every method in the registry must hold to, on models that know their data by heart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import chance, drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import Edit
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import FactProbe, LoopStep

pytestmark = pytest.mark.slow

NUM_STEPS = 16
SETTINGS = {"batch_size": 8, "learning_rate": 3e-3}

EDITS = [name for name, cls in methods.REGISTRY.items() if issubclass(cls, Edit)]  # see test_edits.py
CASES = [
    *((name, cls.traits.adapter or "full", "olmo2") for name, cls in methods.REGISTRY.items() if name not in EDITS),
    *((name, "lora", "llama") for name in ("lethe", "kl", "npo", "fpga", "sugd", "rmu")),
    ("simnpo", "full", "qwen2"),
    ("altpo", "full", "olmo"),
    ("wagle", "full", "qwen2"),
    ("adv_npo", "full", "llama"),
]
# Weights near 0 where p is near 1, or another answer to be learned first: they need a larger push.
SLOW: dict[str, dict[str, Any]] = {
    "wga": {"learning_rate": 1.5e-2, "retain_weight": 0.5},
    "satimp": {"learning_rate": 1.5e-2, "retain_weight": 0.5},
    "idk": {"learning_rate": 1e-2, "batch_size": 24},
    "dpo": {},
    # The tiny data is known by heart, so that little is learnt that could be subtracted.
    "task_vector": {"learning_rate": 2e-3, "strength": 8.0},
    "pem_lora": {"learning_rate": 2e-2, "strength": 8.0},
    "ties_merge": {"learning_rate": 2e-2},
    "sku": {"learning_rate": 2e-3, "strength": 8.0},
    "altpo": {},
    # Few weights train, or what trains is under attack, or only some of the steps push.
    "rmu": {"learning_rate": 5e-2, "strength": 60.0},
    "adaptive_rmu": {"learning_rate": 5e-2},
    "adv_ga": {"learning_rate": 1e-2, "retain_weight": 1.0, "radius": 0.3, "rounds": 2},
    "adv_npo": {"learning_rate": 1e-2, "radius": 0.3, "rounds": 2},
    "lat": {"learning_rate": 1e-2, "radius": 0.3, "rounds": 2},
    "agad": {"learning_rate": 1e-2, "ascent_share": 0.6},
    "constrained_mlp": {"learning_rate": 1e-2},
    "lethe_pretrained": {"first_layer": 0.0, "learning_rate": 3e-2, "retain_weight": 0.5},
}


@pytest.mark.parametrize(("name", "adapter", "arch"), CASES)
def test_every_method_forgets_and_can_be_undone(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    name: str,
    adapter: str,
    arch: str,
) -> None:
    model = memorised(arch)
    before = snapshot(model)
    rate = 2e-2 if adapter == "lora" else 5e-3
    settings: dict[str, Any] = {"batch_size": 8, "learning_rate": rate}
    if name == "lethe":
        settings["document_share"] = 0.0  # the tiny model never saw the rows as whole documents
    settings.update(SLOW.get(name, {}))
    method = methods.build(name, settings, steps=NUM_STEPS)
    records, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter))
    steps = [record for record in records if isinstance(record, LoopStep)]
    probes = [record for record in records if isinstance(record, FactProbe)]
    assert [step.step for step in steps] == list(range(1, NUM_STEPS + 1))
    assert (probes[0].step, probes[-1].step) == (0, NUM_STEPS)
    assert chance(probes[0], "forget") > 0.5
    share = 1.0 if name in ("dpo", "altpo") else 0.8 if name in SLOW else 0.5  # DPO may leave the answer as likely
    assert chance(probes[-1], "forget") < share * chance(probes[0], "forget")
    assert artifact.changed()["relative_change"] > 0
    assert all(p.grad is None for p in model.parameters())
    artifact.revert()
    assert same(snapshot(artifact.release()), before)


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_prepare_leaves_the_weights_and_a_cancel_restores_them(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, adapter: str
) -> None:
    model = memorised()
    before = snapshot(model)
    for name, cls in methods.REGISTRY.items():
        if name in EDITS or cls.traits.adapter not in (None, adapter):
            continue
        method = methods.build(name, SETTINGS, steps=9)
        run = unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter)
        assert isinstance(next(run), FactProbe)
        if adapter == "full":
            assert same(snapshot(model), before), "prepare changed the weights"
        while not isinstance(next(run), LoopStep):
            pass
        if adapter == "full":
            assert not same(snapshot(model), before)
        run.close()
        assert same(snapshot(model), before)
        assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_the_same_seed_gives_the_same_weights(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, adapter: str
) -> None:
    method = methods.build("lethe", SETTINGS, steps=3)
    results = []
    for seed in (1, 1, 2):
        model = memorised()
        torch.manual_seed(len(results))  # the global generator must not matter
        drain(unlearn(model, tiny_tokenizer, tiny_data, method, seed=seed, adapter=adapter))
        results.append(snapshot(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_retaining_methods_hold_what_ascent_destroys(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    kept = {}
    for name in ("grad_ascent", "grad_diff", "npo", "simnpo", "lethe"):
        method = methods.build(name, SETTINGS, steps=15)
        records, _ = drain(unlearn(memorised(), tiny_tokenizer, tiny_data, method))
        kept[name] = chance([r for r in records if isinstance(r, FactProbe)][-1], "retain")
    assert kept["grad_ascent"] < min(kept["npo"], kept["simnpo"], kept["lethe"])
    assert kept["lethe"] > 0.4
