"""Waiting for another thread or process without a deadline of its own: pytest ends a test that hangs."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(condition: Callable[[], object]) -> None:
    """Look again and again until the condition holds."""
    while not condition():
        time.sleep(0.01)
