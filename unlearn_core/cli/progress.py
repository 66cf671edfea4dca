"""One line on stderr that says where a run is; a line per stage where stderr is not a terminal."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Generator
from typing import TypeVar

from unlearn_core.errors import clip
from unlearn_core.evaluation.progress import Progress, ResultIterator
from unlearn_core.runs.events import (
    AuditProgress,
    BestKept,
    CanaryAlert,
    Logged,
    PromptChosen,
    StageProgress,
    Step,
    Warned,
)
from unlearn_core.runs.state import RunState
from unlearn_core.system.units import duration

Result = TypeVar("Result")
_WIDTH = 24
_EVERY = 0.1  # seconds between drawings


class ProgressLine:
    """Feed it events (or `show`); call `close` before printing anything else."""

    def __init__(self) -> None:
        self._stream = sys.stderr
        self._live = self._stream.isatty()
        self._stage = ""
        self._drawn = 0.0

    def event(self, event: Logged) -> None:
        if isinstance(event, StageProgress):
            self.show(event.stage, event.done, event.total, event.message, event.seconds_left)
        elif isinstance(event, Step):
            losses = "  ".join(f"{name} {value:.3g}" for name, value in event.losses.items() if value is not None)
            self.show("unlearn", event.step, event.num_steps, losses, event.seconds_left)
        elif isinstance(event, AuditProgress):
            self.show(event.name, event.fraction, 1.0, seconds_left=event.seconds_left)
        elif isinstance(event, PromptChosen | Warned | CanaryAlert | BestKept):
            self.note(event.message, "warning" if isinstance(event, CanaryAlert) and event.down else "note")

    def follow_events(self, events: Generator[Logged]) -> RunState:
        """Show a run or audits to their end; what they came to."""
        state = RunState()
        try:
            for event in events:
                self.event(event)
                state.add(event)
        finally:
            self.close()
            events.close()
        return state

    def note(self, words: str, kind: str = "note") -> None:
        """A line of its own."""
        self.close()
        print(f"{kind}: {words}", file=self._stream)

    def show(self, stage: str, done: float, total: float, message: str = "", seconds_left: float | None = None) -> None:
        """Draw `done` of `total` of a stage."""
        fraction = min(1.0, done / total) if total else 0.0
        if not self._live:
            if stage != self._stage:
                self._stage = stage
                print(f"{stage} ...", file=self._stream, flush=True)
            return
        now = time.monotonic()
        if stage == self._stage and fraction < 1.0 and now - self._drawn < _EVERY:
            return
        if stage != self._stage:
            self.close()
            self._stage = stage
        self._drawn = now
        filled = round(_WIDTH * fraction)
        bar = "#" * filled + "." * (_WIDTH - filled)
        left = f"  {duration(seconds_left)} left" if seconds_left is not None else ""
        line = f"{stage:<17} [{bar}] {fraction:4.0%}{left}  {clip(message, 60)}"
        self._stream.write("\r\x1b[K" + line[: shutil.get_terminal_size().columns - 1])
        self._stream.flush()

    def follow(self, work: Generator[Progress, None, Result], prefix: str = "") -> Result:
        """Show the progress of `work` to its end; returns what it returns."""
        parts = ResultIterator(work)
        with contextlib.closing(work):
            for part in parts:
                self.show(prefix + part.stage, part.done, part.total)
        return parts.result

    def close(self) -> None:
        """End the line."""
        if self._live and self._stage:
            self._stream.write("\n")
            self._stream.flush()
        self._stage = ""
