"""Liger's kernels go into a model on a GPU and nowhere else. A module of its names stands in: it needs Triton."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from transformers.models.llama import modeling_llama
from transformers.models.olmo import modeling_olmo

from unlearn_core.models import kernels

CUDA = torch.device("cuda")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Liger, installed; what was asked of it."""
    calls: list[Any] = []
    known = [(module, dict(vars(module))) for module in (modeling_llama, modeling_olmo)]

    def put_in(model: Any, **settings: bool) -> None:
        calls.append((model, settings))
        modeling_llama.apply_rotary_pos_emb = rotary
        modeling_llama.LlamaRMSNorm = modeling_llama.LlamaMLP = torch.nn.Identity

    def rotary(query: Any, *_: Any) -> str:
        return "fused"

    liger = ModuleType("liger_kernel")
    inner: Any = ModuleType("liger_kernel.transformers")
    inner._apply_liger_kernel_to_instance, inner.liger_rotary_pos_emb = put_in, rotary
    inner.LigerSwiGLUMLP = type("LigerSwiGLUMLP", (), {"forward": lambda self, states: (self, states)})
    monkeypatch.setitem(sys.modules, "liger_kernel", liger)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", inner)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: liger if name == "liger_kernel" else find(name))
    yield calls
    for module, before in known:
        for name, value in before.items():
            setattr(module, name, value)


def on_gpu(model: Any) -> Any:
    """`model` as one that says it is on a GPU."""
    made = type(model.__class__.__name__, (type(model),), {"device": CUDA, "__module__": type(model).__module__})
    model.__class__ = made
    return model


def test_a_model_on_a_gpu_gets_them_and_one_made_later_does_not(
    tiny_model: Callable[..., Any], asked: list[Any]
) -> None:
    plain = modeling_llama.LlamaRMSNorm, modeling_llama.LlamaMLP
    model = on_gpu(tiny_model("llama"))
    kernels.fuse(model)
    kernels.fuse(model)
    assert asked == [(model, {"cross_entropy": False, "fused_linear_cross_entropy": False})] * 2
    assert plain == (modeling_llama.LlamaRMSNorm, modeling_llama.LlamaMLP)
    ids = torch.arange(8)[None]
    assert torch.isfinite(tiny_model("llama")(ids).logits).all()  # on the CPU, with the plain rotary function
    assert modeling_llama.apply_rotary_pos_emb(SimpleNamespace(device=CUDA), None, None, None) == "fused"


def test_the_first_olmo_gets_what_fits_it(tiny_model: Callable[..., Any], asked: list[Any]) -> None:
    model = on_gpu(tiny_model("olmo"))
    kernels.fuse(model)
    mlp = model.model.layers[0].mlp
    assert mlp.forward("states") == (mlp, "states")
    assert modeling_olmo.apply_rotary_pos_emb(SimpleNamespace(device=CUDA)) == "fused"
    assert torch.isfinite(tiny_model("olmo")(torch.arange(8)[None]).logits).all()


def test_without_liger_or_without_a_gpu_nothing_is_touched(
    tiny_model: Callable[..., Any], asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rotary = modeling_llama.apply_rotary_pos_emb
    kernels.fuse(tiny_model("llama"))
    monkeypatch.setenv("LETHE_PLAIN_GPU", "1")
    kernels.fuse(on_gpu(tiny_model("llama")))
    monkeypatch.delenv("LETHE_PLAIN_GPU")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    kernels.fuse(on_gpu(tiny_model("llama")))
    assert asked == []
    assert modeling_llama.apply_rotary_pos_emb is rotary
