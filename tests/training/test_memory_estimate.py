"""The sizes of a run, told from a configuration, against what real models keep and real runs hold."""

from __future__ import annotations

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from loop_helpers import drain
from torch.utils.flop_counter import FlopCounterMode

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import ResultIterator
from unlearn_core.methods.capabilities import TrainsSubset
from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.inference.forward import body_and_head
from unlearn_core.models.shape import Shape
from unlearn_core.training.loop import LoopStep, unlearn
from unlearn_core.training.resources import estimate as module
from unlearn_core.training.resources.activation_memory import recomputed
from unlearn_core.training.resources.estimate import Workload, estimate

pytestmark = pytest.mark.slow


def kept_by(model: Any, rows: int, positions: int) -> int:
    """Bytes that a real forward pass keeps for its backward pass, weights aside."""
    weights = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    ids = torch.zeros(rows, positions, dtype=torch.long)
    split = body_and_head(model)
    assert split is not None
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        split[0](input_ids=ids, position_ids=torch.arange(positions).expand(rows, -1), use_cache=False)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


@pytest.mark.parametrize("arch", ["olmo", "olmo2", "llama", "qwen2"])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_a_traced_pass_keeps_what_a_real_one_keeps(tiny_model: Callable[..., Any], arch: str, adapter: str) -> None:
    model = tiny_model(arch, num_hidden_layers=3, hidden_size=64, intermediate_size=160)
    shape = Shape(model.config, torch.float32, adapter, rank=4)
    plain = sum(p.numel() for p in model.parameters())
    if adapter == "lora":
        apply_lora(model, 4)
    traced = shape.trace(3 * 40, 3 * 40**2)
    assert traced.num_parameters == plain
    assert traced.num_trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert traced.kept_bytes == pytest.approx(kept_by(model, 3, 40), rel=0.15)


@pytest.mark.parametrize("arch", ["olmo2", "llama", "qwen2"])
def test_a_traced_pass_keeps_nothing_below_the_lowest_layer_with_an_adapter(
    tiny_model: Callable[..., Any], arch: str
) -> None:
    """Six layers of which the upper three train, and of those the feed-forward maps alone."""
    model = tiny_model(arch, num_hidden_layers=6, hidden_size=64, intermediate_size=160)
    method = methods.build("lethe_pretrained", {}, None)
    shape = Shape(model.config, torch.float32, "lora", rank=4, trains=method.trains)
    everywhere = Shape(model.config, torch.float32, "lora", rank=4)
    apply_lora(model, 4, trains=lambda name: method.trains(name, 6))
    traced, whole = (one.trace(3 * 40, 3 * 40**2) for one in (shape, everywhere))
    assert shape.num_upper == 3
    assert everywhere.num_upper == 6
    assert traced.num_trained == sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert traced.num_parameters == whole.num_parameters
    assert traced.kept_bytes == pytest.approx(kept_by(model, 3, 40), rel=0.15)
    assert traced.kept_bytes < 0.6 * whole.kept_bytes


@pytest.mark.parametrize("arch", ["olmo2", "llama"])
def test_a_recomputed_pass_keeps_its_layers_inputs_and_one_layer(tiny_model: Callable[..., Any], arch: str) -> None:
    model = tiny_model(arch, num_hidden_layers=6, hidden_size=64, intermediate_size=160)
    whole = kept_by(model, 3, 40)
    with recomputed(model, True):
        inputs = kept_by(model, 3, 40)
    found = Shape(model.config, torch.float32).trace(3 * 40, 3 * 40**2, recompute=True).kept_bytes
    assert inputs < found < inputs + 1.15 * whole / 6
    assert found < whole / 2


def test_a_traced_pass_leaves_nothing_behind(tiny_model: Callable[..., Any]) -> None:
    """A graph that holds itself through what was kept of it is freed by nobody: a server would grow by it."""

    def hollow() -> int:
        gc.collect()
        return sum(issubclass(type(one), torch.Tensor) and one.is_meta for one in gc.get_objects())

    before = hollow()
    Shape(tiny_model("llama").config, torch.float32, "lora", rank=4).trace(40, 40**2)
    assert hollow() == before


def test_a_pass_takes_two_operations_a_weight_and_token(tiny_model: Callable[..., Any]) -> None:
    """Linear layers only: 2 layers x (4 D^2 + 3 D I) weights, and attention 4 B T^2 D a layer."""
    model = tiny_model("llama")
    linear = 2 * (4 * 32 * 32 + 3 * 32 * 64)
    expected = 2 * linear * 5 * 7 + 2 * 4 * 5 * 7**2 * 32
    assert Shape(model.config, torch.float32).trace(5 * 7, 5 * 7**2).flops == expected


def sizes(model: Any, tokenizer: Any, data: UnlearningData, name: str, adapter: str = "full", **more: Any) -> Any:
    method = methods.build(name, more, 4)
    return estimate(Shape(model.config, torch.float32, adapter, 4), Workload(tokenizer, data), method)


def test_the_estimate_grows_with_what_is_asked(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model()
    npo, kl = (sizes(model, tiny_tokenizer, tiny_data, name) for name in ("npo", "kl"))
    assert kl.training["reference"] > npo.training["reference"] == 0
    lora = sizes(model, tiny_tokenizer, tiny_data, "npo", "lora")
    assert lora.training["weights before the run"] == 0
    assert npo.training["weights before the run"] == npo.training["weights"] == 4 * npo.num_parameters
    assert npo.training["optimiser"] == 8 * npo.num_parameters
    twice = dataclasses.replace(methods.build("npo", {}, 8))
    shape = Shape(model.config, torch.float32)
    work = Workload(tiny_tokenizer, tiny_data)
    more = estimate(shape, work, twice)
    assert more.training_flops == pytest.approx(2 * npo.training_flops)
    halves = estimate(shape, work, twice, processes=2)
    assert halves.training["optimiser"] == more.training["optimiser"] // 2


def test_a_large_model_on_a_gpu_recomputes_where_its_activations_do_not_fit(
    tiny_model: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LORA_FROM", 1)
    shape = Shape(tiny_model(num_hidden_layers=6).config, torch.bfloat16)
    work, method = Workload(tiny_tokenizer, tiny_data), methods.build("npo", {}, 4)
    roomy, tight = (estimate(shape, work, method, device="cuda", room=room) for room in (None, 1))
    assert sum(tight.training.values()) < sum(roomy.training.values())
    assert tight.training_flops == pytest.approx(4 / 3 * roomy.training_flops)
    assert tight.training["weights"] == roomy.training["weights"]


@pytest.mark.parametrize("adapter", ["full", "lora"])
@pytest.mark.parametrize("name", ["grad_ascent", "grad_diff", "kl", "npo", "lethe"])
def test_estimated_operations_are_those_that_steps_carry_out(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str, adapter: str
) -> None:
    """Counted around real steps, as no run is: the counter changes the last bits of the sums."""
    model = tiny_model("llama", hidden_size=64, intermediate_size=256)
    method = methods.build(name, {"batch_size": 4}, 3)
    shape = Shape(model.config, torch.float32, adapter, 16)
    found = estimate(shape, Workload(tiny_tokenizer, tiny_data), method)
    _, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter, probe_ids=()))
    artifact.release()  # what is tried on a model is tried once, and left out
    run = unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter, probe_ids=())
    next(run)  # what is done once, before the first step, is left out
    with FlopCounterMode(display=False) as counter:
        for _ in run:
            pass
    assert found.training_flops == pytest.approx(counter.get_total_flops(), rel=0.15)


WHOLE = sorted(
    name
    for name, cls in methods.REGISTRY.items()
    if cls.traits.adapter in (None, "full") and not issubclass(cls, TrainsSubset)  # all weights train
)


@pytest.mark.parametrize("name", WHOLE)
def test_no_method_keeps_weights_that_its_estimate_does_not_count(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str
) -> None:
    """Between steps: the weights, their old values, AdamW's two moments, and no third copy of any weight."""
    gc.freeze()  # what other tests left behind is not looked at
    model = tiny_model("llama", hidden_size=64, intermediate_size=256)
    method, num_parameters = methods.build(name, {}, 2), sum(p.numel() for p in model.parameters())
    shapes = {tuple(p.shape) for p in model.parameters() if p.numel() > 4096}
    records = unlearn(model, tiny_tokenizer, tiny_data, method, adapter="full", probe_ids=())
    held = [resident(shapes) for record in records if isinstance(record, LoopStep)]
    weights = sum(4 * p.numel() for p in model.parameters() if tuple(p.shape) in shapes)
    most = 4.35 if name == "wagle" else 4.1 + method.traits.weight_copies  # its mask has a byte for each weight of four
    work = Workload(tiny_tokenizer, tiny_data)
    told = estimate(Shape(model.config, torch.float32), work, method).training
    assert told.get("copies of the weights", 0) == 4 * method.traits.weight_copies * num_parameters
    assert 4 * weights <= max(held) <= most * weights


def test_a_bfloat16_model_takes_what_its_estimate_says(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    """Whole and in training: float32 weights, their old values in bfloat16, two moments. Scored: the first two."""
    gc.freeze()  # what other tests left behind is not looked at
    model = tiny_model("llama", hidden_size=64, intermediate_size=256).to(torch.bfloat16)
    shapes = {tuple(p.shape) for p in model.parameters() if p.numel() > 4096}
    count = sum(p.numel() for p in model.parameters() if tuple(p.shape) in shapes)
    method = methods.build("npo", {"batch_size": 4}, 2)
    run = ResultIterator(unlearn(model, tiny_tokenizer, tiny_data, method, adapter="full", probe_ids=()))
    held = [resident(shapes) for record in run if isinstance(record, LoopStep)]
    artifact = run.result
    scored = resident(shapes)
    found = estimate(Shape(model.config, torch.bfloat16), Workload(tiny_tokenizer, tiny_data), method)
    assert artifact.model is model
    share = count / found.num_parameters
    told = sum(found.training[name] for name in ("weights", "weights before the run", "optimiser")) * share
    assert max(held) == pytest.approx(told, rel=0.15)
    assert scored == pytest.approx(
        share * (found.scoring["weights"] + found.scoring["weights before the run"]), rel=0.15
    )


def resident(shapes: set[tuple[int, ...]]) -> int:
    """Bytes of all tensors in memory that have the shape of a weight."""
    gc.collect()
    alive: dict[int, int] = {}
    for thing in gc.get_objects():
        if type(thing) in (torch.Tensor, torch.nn.Parameter) and tuple(thing.shape) in shapes:
            alive[thing.untyped_storage()._cdata] = thing.untyped_storage().nbytes()
    return sum(alive.values())
