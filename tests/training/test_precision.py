"""Weights that train are float32 whatever the model is loaded in: small steps add up, and survive rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.progress import result_of
from unlearn_core.methods import build
from unlearn_core.models import targets
from unlearn_core.models.adapters import NAME, apply_lora, lora_layers, plain_name
from unlearn_core.models.artifacts import DenseDelta
from unlearn_core.models.files.checkpoint import read_weights
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.precision import compute_in, hold_in, rounded
from unlearn_core.system.files import save_complete
from unlearn_core.training.loop import unlearn
from unlearn_core.training.trainable import Trainable

pytestmark = pytest.mark.slow

BF16 = torch.bfloat16


def test_a_rounded_weight_is_one_of_its_two_neighbours_and_right_in_the_mean() -> None:
    torch.manual_seed(0)
    weights = torch.randn(1 << 18) * 0.02
    copies = rounded(weights)
    nearest = weights.to(BF16)
    assert torch.equal(rounded(nearest.float()), nearest)  # what bfloat16 can hold stays as it is
    assert torch.equal(rounded(weights), copies)
    step = 2.0 ** (weights.abs().log2().floor() - 7)
    assert ((copies.float() - weights).abs() < step).all()
    moved = nearest.float() * (1 + 1e-4)  # less than a tenth of a step
    change = rounded(moved).float() - nearest.float()
    true = moved - nearest.float()
    assert float(change @ nearest.float()) == pytest.approx(float(true @ nearest.float()), rel=0.05)
    assert torch.equal(moved.to(BF16), nearest)  # where rounding to the nearest keeps nothing


def change(
    model: Any, tokenizer: Any, data: UnlearningData, rate: float, folder: Path, steps: int = 100
) -> torch.Tensor:
    """What `steps` steps changed in the weights that were handed over and saved."""
    held = model.dtype
    before = torch.cat([p.detach().float().flatten() for p in model.parameters()])
    method = build("grad_diff", {"batch_size": 2, "learning_rate": rate}, steps)
    artifact = result_of(unlearn(model, tokenizer, data, method, adapter="full", probe_ids=()))
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert after.dtype == torch.float32
    known = weights_hash(model)
    save_complete(folder, lambda partial: artifact.save(partial, tokenizer), {})
    assert targets.load_target(str(folder), device="cpu").weights_hash == known
    assert artifact.release().dtype == held
    assert torch.equal(torch.cat([p.detach().float().flatten() for p in model.parameters()]), before)
    return after - before


@pytest.mark.parametrize("rate", [1e-6, 1e-4])
def test_a_bfloat16_model_changes_as_a_float32_one_does(
    memorised: Any, tiny_tokenizer: Any, tiny_data: UnlearningData, rate: float, tmp_path: Path
) -> None:
    """In the weights that are scored and saved."""
    half, exact = memorised().to(BF16), memorised().to(BF16).float()
    found = change(half, tiny_tokenizer, tiny_data, rate, tmp_path / "half")
    wanted = change(exact, tiny_tokenizer, tiny_data, rate, tmp_path / "exact")
    assert float(found.norm() / wanted.norm()) == pytest.approx(1, abs=0.03)
    assert float(torch.cosine_similarity(found, wanted, 0)) > 0.99


def test_weights_that_a_run_kept_in_float32_are_loaded_so(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where any other model is loaded in bfloat16."""
    monkeypatch.setattr(targets, "default_dtype", lambda *_: BF16)
    model = tiny_model("llama")
    save_complete(tmp_path / "kept", lambda partial: DenseDelta(model, {}).save(partial, tiny_tokenizer), {})
    DenseDelta(model, {}).save(tmp_path / "given", tiny_tokenizer)
    kept, given = (targets.load_target(str(tmp_path / name), device="cpu") for name in ("kept", "given"))
    assert (kept.model.dtype, given.model.dtype) == (torch.float32, BF16)
    assert kept.weights_hash == weights_hash(model)


def test_an_adapter_trains_in_float32_and_is_kept_as_its_base_is(
    memorised: Any, tiny_tokenizer: Any, tiny_data: UnlearningData, tmp_path: Path
) -> None:
    """It is rounded when the training ends, so what is judged is what is kept; the merged weights are peft's sum."""
    base = {name: p.detach().float() for name, p in memorised().to(BF16).named_parameters()}
    method = build("npo", {"batch_size": 4, "learning_rate": 1e-4}, 20)
    artifact = result_of(unlearn(memorised().to(BF16), tiny_tokenizer, tiny_data, method, adapter="lora", probe_ids=()))
    trained = {name: p.detach().clone() for name, p in artifact.model.named_parameters() if ".lora_" in name}
    changes = {plain_name(name): layer.get_delta_weight(NAME).clone() for name, layer in lora_layers(artifact.model)}
    artifact.save(tmp_path, tiny_tokenizer)
    artifact.save_adapter(tmp_path / "adapter")
    kept = read_weights(tmp_path / "adapter" / NAME)
    assert {p.dtype for p in trained.values()} == {torch.float32}
    assert {value.dtype for value in kept.values()} == {BF16}
    assert sorted(float(value.float().norm()) for value in kept.values()) == sorted(
        float(p.norm()) for p in trained.values()
    )
    merged = read_weights(tmp_path)
    for name, change in changes.items():
        assert merged[f"{name}.weight"].dtype == BF16
        assert torch.equal(merged[f"{name}.weight"], base[f"{name}.weight"].to(BF16) + change.to(BF16))


class _Products(TorchDispatchMode):
    """The types in which matrices are multiplied."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in ("mm", "bmm", "addmm", "_scaled_dot_product_flash_attention_for_cpu"):
            self.dtypes |= {value.dtype for value in args if isinstance(value, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@contextmanager
def products() -> Iterator[set[torch.dtype]]:
    with _Products() as mode:
        yield mode.dtypes


@pytest.mark.parametrize("arch", ["olmo2", "llama", "gpt_neox"])
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_what_trains_is_float32_and_what_computes_is_not(
    tiny_model: Callable[..., Any], arch: str, adapter: str
) -> None:
    """Gradients too: those of several pieces of a step are added up in float32."""
    model = tiny_model(arch).to(BF16)
    trainable = Trainable(model, adapter, 4, 0)
    ids = torch.arange(20).view(2, 10)
    for _ in range(2):
        with products() as dtypes:
            model(input_ids=ids, use_cache=False).logits.float().square().mean().backward()
        assert dtypes == {BF16}
    assert {p.dtype for p in trainable.parameters} == {torch.float32}
    assert {p.grad.dtype for p in trainable.parameters if p.grad is not None} == {torch.float32}
    trainable.close(restore=True)
    assert {p.dtype for p in model.parameters()} == {BF16}
    assert not any("forward" in vars(module) for module in model.modules())
    plain = tiny_model(arch).to(BF16)
    torch.testing.assert_close(model(input_ids=ids).logits, plain(input_ids=ids).logits, rtol=0, atol=0)


def test_a_model_computes_as_it_would_in_the_shorter_type(tiny_model: Callable[..., Any]) -> None:
    """Weights that bfloat16 can hold, so that nothing but the arithmetic could differ: the very same numbers."""
    half, held = tiny_model("llama").to(BF16), tiny_model("llama").to(BF16)
    hold_in(held, torch.float32)
    end = compute_in(held, BF16)
    ids = torch.arange(20).view(2, 10)
    assert torch.equal(held(input_ids=ids).logits, half(input_ids=ids).logits)
    end()
    assert held(input_ids=ids).logits.dtype == torch.float32


def test_an_adapter_costs_no_more_than_its_products(tiny_model: Callable[..., Any]) -> None:
    """peft alone would multiply in float32 whatever it is given."""
    model = tiny_model("llama").to(BF16)
    wrapped = apply_lora(model, 4)
    ids = torch.arange(20).view(2, 10)
    with products() as before:
        wrapped(input_ids=ids)
    assert torch.float32 in before
    end = compute_in(wrapped, BF16)
    with products() as within:
        wrapped(input_ids=ids)
    assert within == {BF16}
    end()
    with products() as after:
        wrapped(input_ids=ids)
    assert torch.float32 in after
