"""Tensors that are spread over the processes of a team, on disk (torch's distributed checkpoint).

Each process writes what it holds, and what all hold is written once. They can be read by a team of any
size, by one process as well: each asks for its own part. accelerate saves in the same form, but only what its
`Accelerator` has wrapped, and into a team that has wrapped the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from unlearn_core.system.machine import distributed


def trained_shares(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """What trains, by name; of a sharded model this process's shares, also where a pass without gradient
    has left some layers gathered."""
    if distributed.size() > 1:
        from torch.distributed.fsdp import FSDPModule

        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def write_shards(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Save `tensors` into a folder that is there; called by every process."""
    from torch.distributed import checkpoint

    checkpoint.save(tensors, checkpoint_id=folder)


def is_sharded(folder: Path) -> bool:
    """Whether `write_shards` wrote into this folder."""
    return (folder / ".metadata").is_file()


def read_shards(folder: Path, trained: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors in `folder`, spread as `trained` is: `weights.NAME` and `optimiser.NUMBER.*` go with the
    parameter of that name or number where they have its shape, all others are whole."""
    from torch.distributed import checkpoint

    kept: dict[str, Any] = checkpoint.FileSystemReader(folder).read_metadata().state_dict_metadata
    numbered = list(trained.values())
    found: dict[str, torch.Tensor] = {}
    for key, what in kept.items():
        kind, _, rest = key.partition(".")
        number = rest.partition(".")[0]
        like = trained.get(rest) if kind == "weights" else None
        if kind == "optimiser" and int(number) < len(numbered):
            like = numbered[int(number)]
        dtype = what.properties.dtype
        if like is not None and like.shape == what.size:
            found[key] = torch.empty_like(like.detach(), dtype=dtype)
        else:
            found[key] = torch.empty(what.size, dtype=dtype)
    checkpoint.load(found, checkpoint_id=folder)
    return found
