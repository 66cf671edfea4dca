"""Bars: how far something has come, and shares as marks on a line from 0 to 1."""

from __future__ import annotations

from unlearn_core.report.kit.markup import Safe, tag


def progress_head(headline: str | Safe, aside: str | Safe) -> Safe:
    """What is going on, announced when it changes, and beside it what is left."""
    told = tag("strong", headline, aria_live="polite")
    return tag("div", told, tag("span", aside, class_="le-muted"), class_="le-progress-top")


def progress_bar(fraction: float, label: str) -> Safe:
    """A bar filled by `fraction` (0 to 1); `label` names it for a screen reader."""
    return tag(
        "div",
        tag("div", class_="le-bar-fill", style=f"width:{fraction * 100:.1f}%"),
        class_="le-bar",
        role="progressbar",
        aria_label=label,
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=f"{fraction * 100:.0f}",
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
