"""In which type the weights of a model are loaded, where nobody says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch

from unlearn_core.models.files.model_files import TensorInfo
from unlearn_core.system.files import MARKER
from unlearn_core.system.machine.gpu import has_gpu

LARGE = 50_000_000  # weights from which a CPU may be given bfloat16; what is smaller gains nothing by it
MUCH_FASTER = 1.2  # times as fast as float32, so that no noise decides which of two results a machine gives


def default_dtype(device: torch.device, num_weights: int = 0) -> torch.dtype:
    """bfloat16 on a GPU, and for large models on a CPU that multiplies it faster; otherwise float32.

    Pretrained models are published in bfloat16, so nothing is lost.
    """
    if device.type != "cpu":
        return torch.bfloat16
    return torch.bfloat16 if num_weights >= LARGE and bfloat16_is_faster() else torch.float32


def kept_dtype(folder: Path, tensors: Sequence[TensorInfo]) -> torch.dtype | None:
    """The type of the weights, or the adapter, that a run has kept in `folder`: in it they are what they were when
    they were scored. None for any others."""
    if not (folder / MARKER).is_file():
        return None
    if all(tensor.dtype == "F32" for tensor in tensors):
        return torch.float32
    return torch.bfloat16 if all(tensor.dtype == "BF16" for tensor in tensors) else None


@cache
def bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware, and gains by it: with AMX several times as fast as float32;
    where it has AVX512-BF16 alone, some take twice as long."""
    cpu: Any = torch.cpu
    if not (cpu._is_avx512_bf16_supported() or cpu._is_amx_tile_supported()):
        return False
    # By turns, so that what else the machine does at the time slows both.
    turns = [(_fastest_product(torch.bfloat16, 4), _fastest_product(torch.float32, 4)) for _ in range(8)]
    halves, floats = zip(*turns, strict=True)
    return bool(min(floats) > MUCH_FASTER * min(halves))


@cache
def matrix_rate(dtype: torch.dtype) -> float:
    """FLOP/s of a matrix product, timed now on the GPU, or on this CPU where there is none."""
    # Some 0.1 s; the best of many, since an application that starts keeps the cores busy.
    return 2 * _size() ** 3 / _fastest_product(dtype, 32)


def _size() -> int:
    return 4096 if has_gpu() else 512


def _fastest_product(dtype: torch.dtype, times: int) -> float:
    """Seconds of the fastest of some products of two matrices of `_size`."""
    square = torch.ones(_size(), _size(), device="cuda" if has_gpu() else "cpu", dtype=dtype)
    best = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        float((square @ square)[0, 0])
        best = min(best, time.perf_counter() - began)
    return best
