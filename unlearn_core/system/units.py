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


def score(value: float | None, digits: int = 2) -> str:
    """A score between 0 and 1, or `n/a`; never rounds an imperfect score up to a perfect one."""
    if value is None or not math.isfinite(value):
        return MISSING
    shown = f"{value:.{digits}f}"
    edge = 10.0**-digits
    if float(shown) == 1.0 and value < 1.0:
        return f"{1.0 - edge:.{digits}f}"
    if float(shown) == 0.0 and value > 0.0:
        return f"<{edge:.{digits}f}"
    return shown


def digits_apart(value: float, *bounds: float) -> int:
    """How many digits `score` needs, two or more, to write `value` otherwise than each bound it differs from."""
    others = [bound for bound in bounds if bound != value]
    enough = (n for n in range(2, 6) if all(score(value, n) != score(bound, n) for bound in others))
    return next(enough, 6)
