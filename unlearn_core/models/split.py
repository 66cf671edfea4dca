"""A model too large for one device: every process of a team holds a part of each matrix.

transformers' tensor parallelism: the processes read and write the same texts in step, and the model's own plan
says which matrices are cut by rows and which by columns. Whatever calls the model need not know.
"""

from __future__ import annotations

from typing import Any

import torch

from unlearn_core.system.machine import distributed

ROOM = 3.0  # the weights, which training makes float32, and their values before the run


def is_too_large(num_bytes: int, free: int) -> bool:
    """Whether weights of so many bytes are to be split; the same answer in every process."""
    return distributed.size() > 1 and distributed.broadcast(ROOM * num_bytes > free)


def is_split(model: torch.nn.Module) -> bool:
    """Whether the processes hold parts of `model`."""
    return distributed.size() > 1 and any(hasattr(p, "full_tensor") for p in model.parameters())


@torch.no_grad()
def whole(tensor: Any) -> torch.Tensor:
    """A tensor that is in parts gathered on every process, which all must ask for; any other as it is."""
    gathered: torch.Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return gathered.detach()


def gathered(model: torch.nn.Module, keep: bool = True) -> dict[str, torch.Tensor]:
    """The whole state of a model that is split, in the host's memory; every process takes part, and one that is
    not to `keep` it has nothing in the end."""
    state = {}
    for name, value in model.state_dict().items():
        there = whole(value)
        if keep:
            state[name] = there.cpu()
    return state


def own(tensor: Any) -> torch.Tensor:
    """This process's part of a tensor; any other as it is."""
    part: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return part.detach()


@torch.no_grad()
def put(tensor: Any, value: torch.Tensor) -> None:
    """Write `value`, which is whole, into a tensor that may be in parts."""
    if hasattr(tensor, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        value = distribute_tensor(value.to(tensor.device), tensor.device_mesh, tensor.placements, src_data_rank=None)
    tensor.copy_(value)
