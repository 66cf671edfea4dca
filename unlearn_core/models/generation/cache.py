"""A key/value cache that grows in large steps, so that a decoded token costs no copy of the past.

transformers' DynamicCache joins old and new keys at every token, which for small models costs more
than the attention itself. This one writes into a spare buffer and hands out views of it.
Legend: B rows, H key/value heads, S positions, D head width.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

_SPARE = 64  # positions added when the buffer is full


class GrowingLayer(DynamicLayer):
    """One layer's keys and values; `keys` and `values` (B, H, S, D) are views of a larger buffer."""

    keys: torch.Tensor
    values: torch.Tensor
    _buffers: list[torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, H, T, D) keys and values; returns all of them."""
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self._fill(key_states, value_states)
            return self.keys, self.values
        start, stop = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if stop > self._buffers[0].shape[-2]:
            self._fill(self.keys, self.values, spare=stop - start + _SPARE)
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:stop] = new
        self.keys, self.values = (buffer[:, :, :stop] for buffer in self._buffers)
        return self.keys, self.values

    def expanded(self, num_rows: int, spare: int) -> GrowingLayer:
        """A copy of this one-row layer for `num_rows` rows."""
        copy = GrowingLayer()
        copy.dtype, copy.device, copy.is_initialized = self.dtype, self.device, True
        keys, values = (tensor.expand(num_rows, -1, -1, -1) for tensor in (self.keys, self.values))
        copy._fill(keys, values, spare)
        return copy

    def _fill(self, keys: torch.Tensor, values: torch.Tensor, spare: int = _SPARE) -> None:
        self._buffers = []
        length = keys.shape[-2]
        for tensor in (keys, values):
            shape = (*tensor.shape[:2], length + spare, tensor.shape[-1])
            buffer = tensor.new_empty(shape)
            buffer[:, :, :length] = tensor
            self._buffers.append(buffer)
        self.keys, self.values = (buffer[:, :, :length] for buffer in self._buffers)


class GrowingCache(Cache):
    """The cache of all layers."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=GrowingLayer)

    def expanded(self, num_rows: int, spare: int) -> GrowingCache:
        """A copy of this one-row cache for `num_rows` rows, with room for `spare` tokens each."""
        copy = GrowingCache()
        layers: Any = self.layers
        for layer in layers:
            copy.layers.append(layer.expanded(num_rows, spare))
        return copy
