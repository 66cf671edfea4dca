"""A metric's formula, which its protocol declares, shown on hover and on focus wherever its name stands."""

from __future__ import annotations

from unlearn_core.report.kit.markup import Safe, tag


def explained(name: str, words: str, formula: str) -> Safe:
    """`words` with a formula that hover and focus show; `name` is unlike any other on the page."""
    tip = tag("span", formula, class_="le-tip", id=f"le-formula-{name}", role="tooltip")
    button = tag("button", words, type="button", class_="le-explained", aria_describedby=f"le-formula-{name}")
    return tag("span", button, tip, class_="le-explains")
