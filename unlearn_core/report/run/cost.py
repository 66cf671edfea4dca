"""What a run was said to take beside what it took."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import table
from unlearn_core.runs.events import Finished
from unlearn_core.runs.planning.costs import scaled
from unlearn_core.runs.state import RunState
from unlearn_core.system.units import MISSING, duration

_ROWS = (
    ("Time", "seconds", duration),
    ("Operations", "flops", scaled),
    ("Memory at the peak", "memory", lambda size: f"{size / 1e6:,.0f} MB"),
)


def cost_table(story: RunState) -> Safe:
    """Time, floating-point operations and memory; empty for a run that has not finished or says neither."""
    measured = story.end.cost if isinstance(story.end, Finished) else {}
    if not measured:
        return Safe("")
    rows = [
        [name, _told(story.estimated.get(key), words), _told(measured.get(key), words)]
        for name, key, words in _ROWS
        if (story.estimated.get(key), measured.get(key)) != (None, None)
    ]
    return tag("div", table(("Cost", "Estimated", "Measured"), rows), class_="le-card le-item")


def _told(value: Any, words: Callable[[Any], object]) -> str:
    return MISSING if value is None else str(words(value))
