"""The best weights of a training so far, in the host's memory, so that it can end with them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch

from unlearn_core.models.files.model_files import free_memory
from unlearn_core.models.split import own

_ROOM = 0.5  # of the host's free memory that the copy may take


class StateKeeper(Protocol):
    """Remembers a state of the weights."""

    def keep(self) -> None:
        """Remember the present weights in place of those before."""

    def put_back(self) -> None:
        """Make the weights what they were at the last `keep`, bit for bit."""


class WeightKeeper:
    """A copy of the parameters that train. The copies lie in `state`, which a checkpoint saves."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], state: dict[str, Any]) -> None:
        self._parameters, self._state = parameters, state

    @property
    def fits(self) -> bool:
        """Whether the host has room for the copy."""
        size = sum(part.numel() * part.element_size() for part in map(own, self._parameters.values()))
        return size <= _ROOM * free_memory(torch.device("cpu"))

    @torch.no_grad()
    def keep(self) -> None:
        for name, parameter in self._parameters.items():
            known = self._state.get(f"weights.{name}")
            if known is None:
                self._state[f"weights.{name}"] = own(parameter).to("cpu", copy=True)
            else:
                known.copy_(own(parameter))

    @torch.no_grad()
    def put_back(self) -> None:
        for name, parameter in self._parameters.items():
            own(parameter).copy_(self._state[f"weights.{name}"])

    def drop(self) -> None:
        """Free the copy."""
        for name in self._parameters:
            self._state.pop(f"weights.{name}", None)
