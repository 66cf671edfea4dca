"""The processes that carry out one run together; for a process alone everything here changes nothing.

`accelerate launch` starts one process a device and says so in the environment. They work in step: each
runs the same code on the same data, does its own share of the forward passes, and hands the results round.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from unlearn_core.system.machine.gpu import has_gpu

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


def join() -> None:
    """Meet the other processes, where the launcher started several. Called once, before a model is loaded."""
    import torch
    import torch.distributed as dist

    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    if has_gpu():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        dist.init_process_group("cuda:nccl,cpu:gloo")
    else:
        dist.init_process_group("gloo")


def leave() -> None:
    """Say goodbye to the others."""
    if size() > 1:
        import torch.distributed as dist

        dist.destroy_process_group()


def size() -> int:
    """How many processes there are."""
    dist = sys.modules.get("torch.distributed")  # a process alone need not load it
    return dist.get_world_size() if dist and dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0; number 0 writes."""
    return sys.modules["torch.distributed"].get_rank() if size() > 1 else 0


def broadcast(value: T) -> T:
    """What process 0 has."""
    if size() == 1:
        return value
    import torch.distributed as dist

    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def is_lost(error: BaseException) -> bool:
    """Whether `error` says that another process of the team is gone."""
    if size() == 1:
        return False
    import torch.distributed as dist

    link: BaseException | None = error
    while link is not None:
        if isinstance(link, dist.DistBackendError | dist.DistNetworkError) or "gloo/transport" in str(link):
            return True
        link = link.__cause__ or link.__context__
    return False


def share(places: Sequence[int]) -> list[int]:
    """This process's places, every `size()`-th; the shares of all are disjoint and complete."""
    return list(places[rank() :: size()])


def merge(mine: Mapping[int, T], total: int) -> list[T]:
    """The results of all processes in the order of their places, each place exactly once."""
    parts: list[Any] = [mine]
    if size() > 1:
        import torch.distributed as dist

        parts = [None] * size()
        dist.all_gather_object(parts, dict(mine))
    merged: dict[int, T] = {}
    for part in parts:
        twice = merged.keys() & part.keys()
        assert not twice, f"{len(twice)} places were done twice"
        merged |= part
    assert merged.keys() == set(range(total)), f"{total - len(merged)} of {total} places were not done"
    return [merged[place] for place in range(total)]


def gather_rows(own: torch.Tensor, bounds: Sequence[int]) -> torch.Tensor:
    """All rows, of which process r has `bounds[r]` to `bounds[r + 1]`; only a process's own have a slope."""
    if size() == 1:
        return own
    import torch
    import torch.distributed as dist

    counts = [stop - start for start, stop in pairwise(bounds)]
    most = max(counts)
    padded = own.new_zeros((most, *own.shape[1:]))  # not every backend takes rows of different number
    padded[: len(own)] = own.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    pieces = [part[:count] for part, count in zip(parts, counts, strict=True)]
    pieces[rank()] = own
    return torch.cat(pieces)
