"""The GPU, asked for in one place: a process that serves a page on ZeroGPU has none, whatever torch says there."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def has_gpu() -> bool:
    """Whether this process computes on a GPU. On ZeroGPU only a call does (see `jobs.zerogpu`); outside of one the
    platform lets torch say so all the same, and ends what touches it."""
    if os.environ.get("SPACES_ZERO_GPU"):
        return False
    import torch

    return torch.cuda.is_available()


def empty_cache() -> None:
    """Give the memory back that no tensor uses. After a recording that failed (see `cuda_graph`) torch before 2.12
    refuses to; then it stays, and what the failure was about is not hidden. (accelerate's `clear_device_cache` would
    raise there, and ask for a GPU where ZeroGPU allows none.)"""
    if "torch" in sys.modules and has_gpu():
        import torch

        with contextlib.suppress(RuntimeError):
            torch.cuda.empty_cache()


@contextlib.contextmanager
def fast_products(device: torch.device) -> Iterator[None]:
    """Within it a GPU multiplies float32 matrices with 10 bits after the point (TF32), several times as fast;
    bfloat16 has 7."""
    import torch

    before = torch.get_float32_matmul_precision()
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        if device.type == "cuda":
            torch.set_float32_matmul_precision(before)


def send(tensors: Sequence[torch.Tensor], device: torch.device) -> list[torch.Tensor]:
    """Tensors of one type from the host to `device`: in one copy, from memory that the GPU reads by itself, so
    that nothing waits. On the CPU they are there."""
    import torch

    if device.type == "cpu":
        return list(tensors)
    whole = torch.cat([one.reshape(-1) for one in tensors])
    there = (whole.pin_memory() if device.type == "cuda" else whole).to(device, non_blocking=True)
    pieces = there.split([one.numel() for one in tensors])
    return [piece.view(one.shape) for piece, one in zip(pieces, tensors, strict=True)]


def peak_memory() -> int:
    """Most bytes that tensors on the GPU took since `reset_peak`."""
    import torch

    return int(torch.cuda.max_memory_allocated())


def reset_peak() -> None:
    """Count the most from here."""
    if "torch" in sys.modules and has_gpu():
        import torch

        torch.cuda.reset_peak_memory_stats()


def name() -> str:
    """What the maker calls it."""
    import torch

    return str(torch.cuda.get_device_name())
