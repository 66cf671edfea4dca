"""What the machine can do at best, and what a piece of work asks of it."""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def matmul_rate(device: torch.device, dtype: torch.dtype, rounds: int = 6) -> float:
    """FLOP/s of a large matrix product, the best of `rounds`: the roof for everything that computes."""
    size = 8192 if device.type == "cuda" else 1024
    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)
    best = 0.0
    for _ in range(rounds):
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
    from unlearn_core.system.machine.memory import release_memory

    peak = Peak()
    release_memory()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        peak.before = torch.cuda.memory_allocated(device)
    else:
        _RESET.write_text("5")  # Linux: the high-water mark starts again from here
        peak.before = _high_water()
    yield peak
    peak.most = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else _high_water()


def _high_water() -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
