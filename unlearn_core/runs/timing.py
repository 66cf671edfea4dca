"""How long each stage took, and how long the rest will take, from rates measured in this run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Stages in order; durations in seconds of a clock that never jumps."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self.stages = stages
        self.seconds: dict[str, float] = {}
        self._expected: dict[str, float] = {}
        self._stage = ""
        self._began = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block as stage `name`."""
        self._stage, self._began = name, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = time.perf_counter() - self._began

    def expect(self, name: str, seconds: float | None) -> None:
        """Say how long a later stage will take, where it is known."""
        if seconds is not None:
            self._expected[name] = seconds

    def left(self, fraction: float) -> float | None:
        """Seconds until the whole run is done, `fraction` (0..1) into the present stage; None if unknown.

        The rest of this stage goes by its own rate, or, at its very start, by what was expected of it.
        """
        elapsed = time.perf_counter() - self._began
        if fraction >= 0.02:
            rest = elapsed * (1 - fraction) / fraction
        elif self._stage in self._expected:
            rest = max(0.0, self._expected[self._stage] - elapsed)
        else:
            return None
        later = self.stages[self.stages.index(self._stage) + 1 :]
        if any(name not in self._expected for name in later):
            return None
        return rest + sum(self._expected[name] for name in later)
