"""The processes that carry out one run together; for a process alone everything here changes nothing.

`accelerate launch` starts one process a device and says so in the environment. They work in step: each
runs the same code on the same data, does its own share of the forward passes, and hands the results round.
accelerate lets them meet, gives each its device and its number, and carries objects and tensors between them; it
is imported by a team only. What it does not do is here: places are given out in turn instead of in blocks, since
neighbouring rows are of one length; each must come back exactly once; of gathered rows a process's own keep their
slope; and an error says whether another process is gone.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from unlearn_core.system.machine.gpu import has_gpu

if TYPE_CHECKING:
    import torch
    from accelerate import PartialState

T = TypeVar("T")
_team: PartialState | None = None  # None for a process alone


def join() -> None:
    """Meet the other processes, where the launcher started several. Called once, before a model is loaded."""
    global _team
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return
    import torch
    from accelerate import PartialState

    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))  # or accelerate would choose anew
    # Processes with a GPU each exchange what lies in the host's memory too: offloaded weights and checkpoints.
    _team = PartialState(cpu=not has_gpu(), backend="cuda:nccl,cpu:gloo" if has_gpu() else "gloo")


def leave() -> None:
    """Say goodbye to the others."""
    global _team
    if _team is not None:
        _team.destroy_process_group()
        _team = None


def size() -> int:
    """How many processes there are."""
    return _team.num_processes if _team is not None else 1


def rank() -> int:
    """This process's number, from 0; number 0 writes."""
    return _team.process_index if _team is not None else 0


def broadcast(value: T) -> T:
    """What process 0 has."""
    if size() == 1:
        return value
    from accelerate.utils import broadcast_object_list

    held: list[T] = broadcast_object_list([value])
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
        from accelerate.utils import gather_object

        parts = gather_object([dict(mine)])
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
    from accelerate.utils import gather

    counts = [stop - start for start, stop in pairwise(bounds)]
    padded = own.new_zeros((max(counts), *own.shape[1:]))  # accelerate gathers as many rows of each
    padded[: len(own)] = own.detach()
    parts = gather(padded).view(size(), *padded.shape)
    pieces = [part[:count] for part, count in zip(parts, counts, strict=True)]
    pieces[rank()] = own
    return torch.cat(pieces)
