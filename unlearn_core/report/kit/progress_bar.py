"""The head of a progress panel: what is going on, what is left, and a bar that a screen reader announces."""

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
