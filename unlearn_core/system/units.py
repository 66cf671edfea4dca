"""Numbers as people read them, the same in the core's messages, on the page and in the terminal."""

from __future__ import annotations

import math

MISSING = "n/a"


def duration(seconds: float | None) -> str:
    """A length of time: `0.4 s`, `24 s`, `3 min 20 s`, `2 h 05 min`, `4 days 5 h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86400} days {whole % 86400 // 3600} h"
