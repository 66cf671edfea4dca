"""A pretend CUDA device: tensors that say `cuda:0` and compute on the CPU, to run the GPU's own paths without one.

    python tests/fakes/cuda.py SCRIPT     with `pretend` in the script's names; in a process of its own, because
                                          torch asks what devices there are while it is imported

    pretend.on()          the device is there from here on
    pretend.waits()       how often Python has waited for it, and where (an .item(), a copy to the host, a mask)
    pretend.copies()      how often something came from the host in a way that waits, and where

What a real device would refuse is refused: an operation on tensors of both devices, and, while a CUDA graph is
recorded, whatever waits. A graph plays back the operations it saw. What it cannot show: speed, memory, the kernels'
own rounding. torch must be told that CUDA is built in; a small library that says so is compiled once (g++).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_GUARD = r"""
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/CPUGeneratorImpl.h>
using c10::Device; using c10::DeviceType; using c10::Stream;
static const Device here{DeviceType::CUDA, 0};
static const Stream only(Stream::DEFAULT, here);
struct Guard : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::CUDA; }
  Device exchangeDevice(Device) const override { return here; }
  Device getDevice() const override { return here; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  Stream getStream(Device) const override { return only; }
  Stream getNewStream(Device, int) const override { return only; }
  Stream getDefaultStream(Device) const override { return only; }
  Stream getStreamFromGlobalPool(Device, bool) const override { return only; }
  Stream exchangeStream(Stream s) const override { return s; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  void record(void**, const Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const Stream&) const override { return true; }
  void synchronizeStream(const Stream&) const override {}
  void synchronizeEvent(void*) const override {}
  void synchronizeDevice(const c10::DeviceIndex) const override {}
  void recordDataPtrOnStream(const c10::DataPtr&, const Stream&) const override {}
};
static Guard guard;
namespace { struct R { R() { c10::impl::device_guard_impl_registry[1].store(&guard); } } registered; }
namespace at {
struct CUDAHooks : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}
  void init() const override {}
  bool hasCUDA() const override { return true; }
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex current_device() const override { return 0; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  int getNumGPUs() const override { return 1; }
  const Generator& getDefaultGenerator(DeviceIndex) const override { return at::detail::getDefaultCPUGenerator(); }
  Generator getNewGenerator(DeviceIndex) const override { return at::detail::createCPUGenerator(); }
  bool isPinnedPtr(const void*) const override { return false; }
};
REGISTER_CUDA_HOOKS(CUDAHooks);
}
"""


def library() -> Path | None:
    """The compiled library, from the last time where it is the same; None without a compiler."""
    folder = Path(str(importlib.util.find_spec("torch").origin)).parent  # type: ignore[union-attr]
    version = (folder / "version.py").read_text(encoding="utf-8")
    made = Path(tempfile.gettempdir()) / f"cuda-{hashlib.sha256((_GUARD + version).encode()).hexdigest()[:16]}.so"
    if not made.is_file():
        partial = Path(tempfile.mkdtemp()) / made.name
        includes = [f"-I{folder}/include", f"-I{folder}/include/torch/csrc/api/include", f"-L{folder}/lib"]
        flags = ["-x", "c++", "-", "-O0", "-fPIC", "-shared", "-std=c++20", "-lc10", "-ltorch_cpu", "-o", str(partial)]
        try:
            subprocess.run(["g++", *includes, *flags], input=_GUARD, text=True, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        partial.replace(made)
    for name in (folder / "lib" / "libc10.so", folder / "lib" / "libtorch_cpu.so", made):
        ctypes.CDLL(str(name), ctypes.RTLD_GLOBAL)
    return made


if __name__ == "__main__":
    if "torch" in sys.modules or library() is None:
        sys.exit("no compiler")
    sys.modules["cuda_fake"] = sys.modules["__main__"]

import torch  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_flatten, tree_map_only  # noqa: E402

_DEVICE = torch.device("cuda", 0)
_WAITS = frozenset(["_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount", "equal"])
_INDEXED = frozenset(["index", "index_put_", "index_put", "_index_put_impl_"])
_MIXED = _INDEXED | frozenset(["copy_", "_to_copy", "_foreach_copy_"])  # take tensors of both devices
_SDPA = torch.nn.functional.scaled_dot_product_attention


class Cuda(torch.Tensor):
    """A tensor of the device; its numbers are in `numbers`."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> Cuda:
        layout = {"strides": numbers.stride(), "storage_offset": numbers.storage_offset(), "dtype": numbers.dtype}
        made: Any = torch.Tensor._make_wrapper_subclass(cls, numbers.size(), **layout, device=_DEVICE)
        made.numbers = numbers
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})

    @property
    def data(self) -> torch.Tensor:
        return torch.Tensor.data.__get__(self)  # type: ignore[attr-defined,no-any-return]

    @data.setter
    def data(self, value: Cuda) -> None:
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.numbers = value.numbers

    def data_ptr(self) -> int:
        return self.numbers.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.numbers.untyped_storage()

    def tolist(self) -> Any:
        _wait("tolist")
        return self.numbers.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            made: Any = Cuda(self.numbers.detach().clone())
            memo[id(self)] = torch.nn.Parameter(made, self.requires_grad) if _is_parameter(self) else made
        return memo[id(self)]

    def __repr__(self, **_: Any) -> str:
        return f"Cuda({self.numbers!r})"


def _is_parameter(tensor: Any) -> bool:
    return isinstance(tensor, torch.nn.Parameter)


_waits: Counter[str] = Counter()
_copies: Counter[str] = Counter()
_recording: list[Any] | None = None


def waits() -> Counter[str]:
    return _waits


def copies() -> Counter[str]:
    return _copies


def forget() -> None:
    """Count from here."""
    _waits.clear()
    _copies.clear()


def _site() -> str:
    for frame in reversed(traceback.extract_stack(limit=60)):
        if "unlearn_core" in frame.filename:
            return f"{frame.filename.rpartition('unlearn_core/')[2]}:{frame.lineno}"
    return "elsewhere"


def _wait(what: str) -> None:
    if _recording is not None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
    _waits[f"{what} at {_site()}"] += 1


def _copy(what: str) -> None:
    if _recording is not None:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")
    _copies[f"{what} at {_site()}"] += 1


@functools.cache
def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _carry_out(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func.overloadpacket.__name__
    tensors = [one for one in tree_flatten((args, kwargs))[0] if isinstance(one, torch.Tensor)]
    ours = [one for one in tensors if isinstance(one, Cuda)]
    theirs = [one for one in tensors if not isinstance(one, Cuda) and one.dim() > 0]
    asked = kwargs.get("device")
    to_gpu = bool(ours) if asked is None else torch.device(asked).type == "cuda"
    if not ours and not to_gpu:
        return func(*args, **kwargs)
    if _is_composite(func):
        with _Mode():
            return func.decompose(*args, **kwargs)
    if ours and theirs and name not in _MIXED:
        raise RuntimeError(f"{func}: tensors of cuda and cpu, {[tuple(one.shape) for one in theirs]} at {_site()}")
    blocking = not (kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2]))
    if name == "copy_" and isinstance(args[0], Cuda) != isinstance(args[1], Cuda):
        (_copy if isinstance(args[0], Cuda) else _wait)(name) if blocking else None
    elif name == "_to_copy" and asked is not None and bool(ours) != to_gpu:
        (_copy if to_gpu else _wait)(name) if blocking else None
    elif name in _INDEXED and ours and theirs:
        _copy(name)
    masks = name in _INDEXED and any(one is not None and one.dtype == torch.bool for one in args[1])
    if ours and (name in _WAITS or masks):
        _wait(name)
    plain_args, plain_kwargs = tree_map_only(Cuda, lambda one: one.numbers, (args, kwargs))
    if to_gpu and asked is not None:
        plain_kwargs["device"] = torch.device("cpu")
    if plain_kwargs.get("pin_memory"):
        plain_kwargs["pin_memory"] = False
    out = func(*plain_args, **plain_kwargs)
    if name == "_local_scalar_dense":
        return out
    if _recording is not None:
        _recording.append((func, plain_args, plain_kwargs, out))
    known = {id(one.numbers): one for one in ours}

    def back(one: torch.Tensor) -> torch.Tensor:
        return known[id(one)] if id(one) in known else Cuda(one) if to_gpu else one

    return tree_map_only(torch.Tensor, back, out)


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs or {})


class _Graph:
    """The operations between `begin` and `end`, on the tensors they were recorded on."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.calls: list[Any] = []

    def pool(self) -> tuple[int, int]:
        return 0, 1

    def replay(self) -> None:
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_flatten(out)[0], tree_flatten(func(*args, **kwargs))[0], strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextlib.contextmanager
def _recorded(graph: _Graph, **_: Any) -> Iterator[None]:
    global _recording
    _recording = graph.calls
    try:
        yield
    finally:
        _recording = None


def _sdpa(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, **settings: Any) -> Any:
    """Attention in plain operations; a mask of another type than the queries is refused, as on a GPU."""
    if not isinstance(query, Cuda):
        return _SDPA(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p, **settings)
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, query.dtype):
        raise RuntimeError(f"Expected attn_mask dtype to be bool or {query.dtype}, got {attn_mask.dtype}")
    if not query.dtype == key.dtype == value.dtype:
        raise RuntimeError("Expected query, key, and value to have the same dtype")
    if query.shape[-3] != key.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(times, -3), value.repeat_interleave(times, -3)
    scores = (query.float() @ key.float().transpose(-1, -2)) * (settings.get("scale") or query.shape[-1] ** -0.5)
    if settings.get("is_causal"):
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=query.device).tril()
    if attn_mask is not None:
        bad = not attn_mask.is_floating_point()
        scores = scores.masked_fill(~attn_mask, -torch.inf) if bad else scores + attn_mask.float()
    return (scores.softmax(-1).nan_to_num(0.0) @ value.float()).to(query.dtype)


def _apply(self: torch.nn.Module, fn: Any, recurse: bool = True) -> torch.nn.Module:
    """torch would exchange a parameter's memory, which is not where these keep theirs."""
    memo: dict[int, Any] = {}
    for module in self.modules():
        for kind in (module._parameters, module._buffers):
            for key, held in kind.items():
                if held is None:
                    continue
                if id(held) not in memo:
                    new = fn(held.detach())
                    made = torch.nn.Parameter(new, held.requires_grad) if _is_parameter(held) else new
                    memo[id(held)] = held, made  # the old one too, so that no other takes its number
                kind[key] = memo[id(held)][1]
    return self


def on(free: int = 8_000_000_000) -> None:
    """Put the device there, with `free` bytes of memory."""
    made: Any = torch.Generator
    about = SimpleNamespace(major=9, minor=0, total_memory=2 * free, name="pretend", multi_processor_count=132)
    said: dict[str, Any] = {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "current_stream": lambda *_: None,
        "set_stream": lambda *_: None,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda *_: (free, 2 * free),
        "memory_reserved": lambda *_: 0,
        "memory_allocated": lambda *_: 0,
        "max_memory_allocated": lambda *_: 0,
        "reset_peak_memory_stats": lambda *_: None,
        "get_device_name": lambda *_: "pretend",
        "get_device_capability": lambda *_: (9, 0),
        "get_device_properties": lambda *_: about,
        "is_bf16_supported": lambda *_, **__: True,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,
        "manual_seed_all": lambda _: None,
        "CUDAGraph": _Graph,
        "graph": _recorded,
    }
    for name, value in said.items():
        setattr(torch.cuda, name, value)
    torch.Tensor.pin_memory = lambda self, *_: self  # type: ignore[method-assign,assignment]
    torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
    torch.Generator = type("Generator", (), {"__new__": lambda cls, device="cpu": made()})  # type: ignore[misc]
    torch.inference_mode = lambda mode=True: torch.no_grad()  # type: ignore[misc,assignment]
    torch.nn.Module._apply = _apply  # type: ignore[method-assign]
    torch.nn.functional.scaled_dot_product_attention = _sdpa  # type: ignore[assignment]
    _Mode().__enter__()


if __name__ == "__main__":
    script = Path(sys.argv[1])
    exec(compile(script.read_text(encoding="utf-8"), str(script), "exec"), {"pretend": sys.modules["__main__"]})
