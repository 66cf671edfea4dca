"""A step of unchanging shapes, recorded once on a GPU and replayed: one call in place of hundreds.

For a small model or a small batch a decoded token costs more in Python and kernel launches than on the GPU.
A CUDA graph repeats what was launched, on the same memory, so a step must read and write tensors that stay
where they are. Where something cannot be recorded, the step is carried out as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

Step = Callable[[], torch.Tensor]
# What waits for the GPU or copies from the host, neither of which can be recorded.
_WAITS = frozenset(
    {"item", "is_nonzero", "_local_scalar_dense", "nonzero", "equal", "masked_select", "bincount"}
    | {"_unique2", "unique_dim", "unique_consecutive"}
)
_INDEXED = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
_COPIES = frozenset({"copy_", "_to_copy"})


class CudaGraphCache:
    """Calls steps: the first of a key as it is, the second is recorded, from then on the record is played.

    A step may be called twice: what it writes must not depend on what it wrote before.
    """

    def __init__(self, on: bool) -> None:
        self.on = on
        self._seen: set[Hashable] = set()
        self._records: dict[Hashable, Step] = {}
        self._pool: Any = None  # memory that the records share; they never run side by side

    def __call__(self, key: Hashable, step: Step) -> torch.Tensor:
        """What `step` returns; it may be written over by the next call."""
        if not self.on:
            return step()
        try:
            if key in self._records:
                return self._records[key]()
            if key in self._seen:
                self._records[key] = self._record(step)
                return self._records[key]()
            self._seen.add(key)
            with _Recordable():  # one that fails half-way would leave torch's generators and allocator unusable
                return step()  # also loads the kernels, which cannot be done while recording
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError):
                raise
            self.on = False
            return step()

    def _record(self, step: Step) -> Step:
        """Recording runs nothing: what the step changes changes when it is played."""
        graph = torch.cuda.CUDAGraph()
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                result = step()
        finally:
            torch.cuda.set_stream(stream)  # a recording that failed stays on its own
        self._pool = self._pool or graph.pool()

        def play() -> torch.Tensor:
            graph.replay()
            return result

        return play


class _Recordable(TorchDispatchMode):
    """Refuses operations that Python waits for, and copies between the host and the GPU."""

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name in _WAITS or (name in _INDEXED and _by_mask(args[1])):
            raise RuntimeError(f"{func} cannot be recorded")
        made = func(*args, **(kwargs or {}))
        if name in _COPIES:
            places = {one.device.type for one in (*args[:2], made) if isinstance(one, torch.Tensor)}
            if len(places) > 1:
                raise RuntimeError(f"{func} between {' and '.join(sorted(places))} cannot be recorded")
        return made


def _by_mask(indices: Iterable[torch.Tensor | None]) -> bool:
    """Whether what comes out has a size that only the GPU knows."""
    return any(index is not None and index.dtype == torch.bool for index in indices)
