"""How much memory there is and how much of it is in use: of the container where it has a limit."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

from unlearn_core.system.machine import gpu

_TEXTS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "cublas_status_alloc_failed",
)


_KEPT_FREE = 128 * 2**20  # bytes of freed memory that the allocator may hold at the heap's end
_LARGE = 32 * 2**20  # bytes from which a block is taken from the system, and given back when freed
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)

ROOT = Path("/sys/fs/cgroup")
_FILES = (
    ("memory.current", "memory.max"),
    ("memory/memory.usage_in_bytes", "memory/memory.limit_in_bytes"),  # the first version of cgroups
)


def memory() -> tuple[int, int]:
    """Bytes in use and bytes there are, of this container or else of the machine."""
    machine = psutil.virtual_memory()
    return container_memory() or (machine.total - machine.available, machine.total)


def container_memory() -> tuple[int, int] | None:
    """Bytes in use and the limit of this container; None where it has none below the machine's memory."""
    for use, most in _FILES:
        try:
            limit = int((ROOT / most).read_text())
            used = int((ROOT / use).read_text()) - _reclaimable((ROOT / use).parent)
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if limit < psutil.virtual_memory().total:
            return used, limit
    return None


def _reclaimable(folder: Path) -> int:
    """Bytes of the files' cache, which the kernel gives back when memory is short."""
    for line in (folder / "memory.stat").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def resident_memory() -> int:
    """Bytes this process holds now; nothing of a GPU."""
    return int(psutil.Process().memory_info().rss)


def present_memory() -> int:
    """Bytes in use: of the GPU at its peak, where there is one, otherwise resident now."""
    return gpu.peak_memory() if "torch" in sys.modules and gpu.has_gpu() else resident_memory()


def peak_memory() -> int | None:
    """Most bytes in use: of the GPU where there is one, otherwise resident."""
    return gpu.peak_memory() if "torch" in sys.modules and gpu.has_gpu() else high_water()


def high_water() -> int | None:
    """Most bytes that this process held since `reset_high_water`; None where there is no /proc."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return None


def reset_high_water() -> None:
    """Count the most from here, where the system is Linux; elsewhere it is the process's own."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def keep_heap() -> None:
    """Let the allocator hold some of what is freed: every step of a training asks for the same again, and to take it
    back from the system is a fourteenth of the step. Nothing where the allocator is not glibc's."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_FREE)
        libc.mallopt(_MMAP_THRESHOLD, _LARGE)


def return_heap() -> None:
    """Give what the allocator holds and nobody uses back to the system; nothing where it is not glibc's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Where a process begins with libraries that stay to its end: the garbage collector looks through what they make
    neither meanwhile nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def release_memory() -> None:
    """Give memory back: collect, empty the device's cache, and return the heap to the system."""
    gc.collect()
    gpu.empty_cache()
    return_heap()


def is_out_of_memory(error: BaseException) -> bool:
    """Out of memory in any of its forms: torch's own type, Python's, and what the allocators write. accelerate's
    `should_reduce_batch_size` misses Python's, what CUDA itself says, cuBLAS and newer words of the CPU's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _TEXTS)
