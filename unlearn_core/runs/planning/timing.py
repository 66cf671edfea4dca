"""How long each stage took, and how long the rest will take, from rates measured in this home."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unlearn_core.errors import LetheError
from unlearn_core.system.files import read_json, write_json


class StageTimer:
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

    @property
    def elapsed(self) -> float:
        """Seconds since the present stage began."""
        return time.perf_counter() - self._began

    def left(self, fraction: float) -> float | None:
        """Seconds until the whole run is done, `fraction` (0..1) into the present stage; None if unknown.

        The rest of this stage goes by its own rate, or, at its very start, by what was expected of it.
        """
        if fraction >= 0.02:
            rest = self.elapsed * (1 - fraction) / fraction
        elif self._stage in self._expected:
            rest = max(0.0, self._expected[self._stage] - self.elapsed)
        else:
            return None
        later = self.stages[self.stages.index(self._stage) + 1 :]
        if any(name not in self._expected for name in later):
            return None
        return rest + sum(self._expected[name] for name in later)


class ThroughputCache:
    """Seconds per training step, remembered between runs by what determines them. Only ever an estimate."""

    def __init__(self, home: Path) -> None:
        self._path = home / "cache" / "pace.json"

    def read(self, key: str) -> float | None:
        value = self._all().get(key)
        return value if isinstance(value, float) and value > 0 else None

    def write(self, key: str, seconds_per_step: float) -> None:
        known = {name: value for name, value in self._all().items() if name != key}
        kept = list(known.items())[-99:]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._path, dict([*kept, (key, seconds_per_step)]))
        except (OSError, ValueError, LetheError):
            return  # an estimate is not worth an error

    def _all(self) -> dict[str, object]:
        try:
            known = read_json(self._path)
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}
