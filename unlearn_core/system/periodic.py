"""Threads that look after something for as long as the server runs."""

from __future__ import annotations

import threading

from unlearn_core.system.log import LOGGER


class PeriodicThread(threading.Thread):
    """Has a look every so many `seconds` until it is closed. What goes wrong is for the log; the next look may go
    better."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(name=f"lethe-{name}", daemon=True)
        self._seconds, self._over = seconds, threading.Event()

    def look(self) -> None:
        """One look, and what it calls for."""
        raise NotImplementedError

    def run(self) -> None:
        while True:
            try:
                self.look()
            except Exception:
                LOGGER.exception(f"{self.name} stumbled")
            if self._over.wait(self._seconds):
                return

    def close(self) -> None:
        self._over.set()
