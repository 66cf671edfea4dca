"""Bars: how far something has come, and shares as marks on a line from 0 to 1."""

from __future__ import annotations

from collections.abc import Iterable

from unlearn_core.report.kit.markup import Safe, tag


def progress_card(headline: str, aside: str, fraction: float, label: str, *more: Safe | None) -> Safe:
    """What is going on, announced when it changes, beside it what is left, and a bar filled by `fraction` (0 to 1),
    which `label` names for a screen reader."""
    told = tag("strong", headline, aria_live="polite")
    top = tag("div", told, tag("span", aside, class_="le-muted"), class_="le-progress-top")
    bar = tag(
        "div",
        tag("div", class_="le-bar-fill", style=f"width:{fraction * 100:.1f}%"),
        class_="le-bar",
        role="progressbar",
        aria_label=label,
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=f"{fraction * 100:.0f}",
    )
    return tag("div", top, bar, *more, class_="le-card le-progress")


def chips(states: Iterable[tuple[str, str]]) -> Safe:
    """Steps in a row, each as (title, "done", "now" or "later")."""
    return tag(
        "ol",
        *(
            tag("li", title, class_=f"le-chip le-{state}", aria_current="step" if state == "now" else None)
            for title, state in states
        ),
        class_="le-chips",
    )


def track(*marks: Safe) -> Safe:
    """A line from 0 to 1 with its marks, for the eye alone: numbers beside it say the same."""
    return tag("div", *marks, class_="le-track", aria_hidden="true")


def pin(model: str, value: float) -> Safe:
    """Where a model stands."""
    return tag("i", class_=f"le-pin le-{model}", style=f"left:{_place(value)}")


def fill(value: float) -> Safe:
    """A bar from 0 to the value."""
    return tag("i", class_="le-fill", style=f"width:{_place(value)}")


def _place(value: float) -> str:
    return f"{100 * min(1.0, max(0.0, value)):.1f}%"
