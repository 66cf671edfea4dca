"""How many threads the tensor library may use: all cores, or all but one while a page is served."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def use_cores(*, serving: bool) -> int:
    """Set and return the number of torch threads; OMP_NUM_THREADS in the environment goes before.

    While a page is served one core stays free for it, and threads trade places more often, so that a
    viewer never waits for a training step.
    """
    import torch

    if serving:
        sys.setswitchinterval(0.0005)
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return torch.get_num_threads()
    count = max(1, usable_cores() - 1) if serving else usable_cores()
    torch.set_num_threads(count)
    return count
