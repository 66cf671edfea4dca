"""Less memory, the same step: recomputed activations, and 8-bit moments where they are available."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from loop_helpers import drain, snapshot

from unlearn_core.data.types import UnlearningData
from unlearn_core.methods import build
from unlearn_core.training import loop, trainable
from unlearn_core.training.loop import Warned, unlearn
from unlearn_core.training.resources import activation_memory as memory


def trained(
    memorised: Callable[..., Any], tokenizer: Any, data: UnlearningData, arch: str, adapter: str
) -> tuple[Any, int]:
    """The model after three steps, and how often its first attention ran for a gradient."""
    model = memorised(arch)
    calls = 0

    def count(*_: Any) -> None:
        nonlocal calls
        calls += torch.is_grad_enabled()  # what is tried on a model beforehand is not a step's

    attention = next(m for name, m in model.named_modules() if name.endswith(("self_attn", "attention")))
    handle = attention.register_forward_hook(count)
    method = build("grad_diff", {"batch_size": 4, "learning_rate": 1e-3}, 3)
    drain(unlearn(model, tokenizer, data, method, adapter=adapter, probe_ids=()))
    handle.remove()
    return model, calls


@pytest.mark.parametrize(("arch", "adapter"), [("olmo2", "full"), ("llama", "lora"), ("gpt_neox", "full")])
def test_recomputing_activations_changes_nothing_but_the_memory(
    arch: str,
    adapter: str,
    memorised: Any,
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, once = trained(memorised, tiny_tokenizer, tiny_data, arch, adapter)
    monkeypatch.setattr(trainable, "LORA_FROM", 1)  # every model is a large one
    saved, twice = trained(memorised, tiny_tokenizer, tiny_data, arch, adapter)
    assert twice == once + 3  # one more forward of each layer a step
    ours, theirs = snapshot(plain), snapshot(saved)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-6) for key in ours)
    assert not any(getattr(m, "gradient_checkpointing", False) or m.training for m in saved.modules())


def test_a_gpu_recomputes_only_once_its_memory_has_run_out(
    memorised: Any, tiny_tokenizer: Any, tiny_data: UnlearningData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large model: first as it is, then each layer again, then fewer sequences; the steps are the same."""
    monkeypatch.setattr(trainable, "LORA_FROM", 1)
    monkeypatch.setattr(memory, "tuned", lambda device: True)
    method = build("grad_diff", {"batch_size": 4, "learning_rate": 1e-3}, 3)
    plain, model = memorised(), memorised()
    drain(unlearn(plain, tiny_tokenizer, tiny_data, method, adapter="full", probe_ids=()))
    real, tried = loop.gradients, []

    def starved(model: Any, method: Any, context: Any, layout: Any, *more: Any) -> Any:
        tried.append((model.model.layers[0].training, len(layout.packs)))
        if tried[-1] in ((False, 1), (True, 1)):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(model, method, context, layout, *more)

    monkeypatch.setattr(loop, "gradients", starved)
    records, _ = drain(unlearn(model, tiny_tokenizer, tiny_data, method, adapter="full", probe_ids=()))
    assert tried == [(False, 1), (True, 1), (True, 2), (True, 2), (True, 2)]
    notes = [record.message for record in records if isinstance(record, Warned)]
    assert ["Memory ran out" in note for note in notes].count(True) == 1
    assert "4 sequences at a time" in notes[-1]
    ours, theirs = snapshot(plain), snapshot(model)
    assert all(torch.allclose(ours[key], theirs[key], atol=1e-5) for key in ours)


def test_less_is_kept_for_the_gradient(tiny_model: Callable[..., Any]) -> None:
    """Bytes that autograd holds between forward and backward, counted."""
    model = tiny_model("olmo2", num_hidden_layers=6)
    held = {}
    for on in (False, True):
        total = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel() * tensor.element_size()
            return tensor

        with memory.recomputed(model, on), torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = model.model(torch.arange(256).view(4, 64), use_cache=False).last_hidden_state
        held[on] = total
        out.sum().backward()
    assert held[True] < held[False] / 3


def test_dropout_stays_off_inside_a_recomputed_layer(tiny_model: Callable[..., Any]) -> None:
    model = tiny_model("llama", attention_dropout=0.9)
    ids = torch.arange(40)[None]
    expected = model(ids).logits
    with memory.recomputed(model, True):
        torch.testing.assert_close(model(ids, use_cache=False).logits, expected)


def test_small_moments_are_taken_on_a_gpu_for_many_weights_where_they_exist(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: object())
    room = 10**9
    monkeypatch.setattr(memory, "free_memory", lambda device: room)
    assert memory.has_small_moments(10**9, gpu)
    assert not memory.has_small_moments(10**6, gpu)
    assert not memory.has_small_moments(10**9, cpu)
    room = 13 * 10**9  # float32 moments fit, and they are the ones that train as float32 does
    assert not memory.has_small_moments(10**9, gpu)
    room = 0
    parameters = [torch.nn.Parameter(torch.ones(2))]
    assert type(memory.make_optimiser(parameters, 0.1, cpu)) is torch.optim.AdamW

    class Paged(torch.optim.AdamW):
        """Stands in for the library, which needs a GPU."""

    library = ModuleType("bitsandbytes.optim")
    library.PagedAdamW8bit = Paged  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", library)
    monkeypatch.setattr(memory, "LORA_FROM", 1)
    assert isinstance(memory.make_optimiser(parameters, 0.1, gpu), Paged)
    monkeypatch.setattr(memory.importlib.util, "find_spec", lambda name: None)
    assert not memory.has_small_moments(10**9, gpu)
