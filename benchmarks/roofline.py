"""What the machine can do at best, and what a piece of work asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, the best of six: the roof for everything that computes."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for _ in range(6):
        repeats = 20 if device.type == "cuda" else 8
        start = clock()
        for _ in range(repeats):
            torch.mm(a, b)
        best = max(best, repeats * 2 * size**3 / (clock() - start))
    return best


def count_flops(work: Callable[[], object]) -> int:
    """FLOPs of the matrix products, convolutions and attention that `work` carries out."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def clock() -> float:
    """Seconds, after everything asked of the GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


@dataclass
class Peak:
    """Bytes: what was in use before the block, and the most that was in use within it."""

    before: int = 0
    most: int = 0

    @property
    def added(self) -> int:
        return self.most - self.before


@contextmanager
def peak_memory(device: torch.device) -> Iterator[Peak]:
    """The block's peak: allocated memory on a GPU, resident memory of this process on a CPU."""
    from unlearn_core.system.machine.memory import high_water, release_memory, reset_high_water

    peak = Peak()
    release_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        peak.before = torch.cuda.memory_allocated(device)
    else:
        reset_high_water()
        peak.before = high_water() or 0
    yield peak
    peak.most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else high_water() or 0
