"""A share of the time for what is done beside the training, kept by measuring it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Budget:
    """Time spent on the side since it was made, against a `share` (0..1) of all the time since then.

    clock: seconds of a clock that never jumps.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._share, self._clock = share, clock
        self._began = clock()
        self._lengths: list[float] = []  # of the last two pieces
        self.spent = 0.0

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Count the block."""
        began = self._clock()
        try:
            yield
        finally:
            length = self._clock() - began
            self.spent += length
            self._lengths = [*self._lengths[-1:], length]

    def fits(self) -> bool:
        """Whether another piece would stay within the share.

        It is taken to last as long as the shorter of the last two: the first one also warms up, and one
        that something else on the machine held up says little of the next.
        """
        return self.spent + min(self._lengths, default=0.0) <= self._share * self.elapsed

    @property
    def elapsed(self) -> float:
        return self._clock() - self._began
