"""How many threads the tensor library may use."""

from __future__ import annotations

import os
import sys


def usable_cores() -> int:
    """The cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def num_threads(cores: int, *, serving: bool) -> int:
    """One core stays free for the page. A command leaves it free too where it costs little: sums depend
    on how many threads share them, and the same seed should give the same weights in both. (One and two
    threads agree bit for bit, so with two cores a command may take both.)
    """
    if cores <= 2 and not serving:
        return cores
    return max(1, cores - 1)


def use_cores(*, serving: bool) -> int:
    """Set and return the number of torch threads; OMP_NUM_THREADS in the environment goes before.

    While a page is served, threads trade places more often, so that a viewer never waits for a step.
    """
    import torch

    if serving:
        sys.setswitchinterval(0.0005)
    if not os.environ.get("OMP_NUM_THREADS", "").isdigit():
        torch.set_num_threads(num_threads(usable_cores(), serving=serving))
    return torch.get_num_threads()
