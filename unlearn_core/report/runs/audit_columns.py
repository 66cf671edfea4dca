"""The two columns of a leaderboard that tell what audits found: how many leak, and which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.runs.series.audited import Audited, audits_of

if TYPE_CHECKING:
    from unlearn_core.report.runs.leaderboard import Board

HEADS = ("Audits that leak", "Which")
CSV_HEADS = ("audits leaking", "audits applied", "audited seeds", "leaking audits")
NOT_YET = "-"
_SHOWN = 2  # names that stand in a cell unfolded
NO_TITLES: Mapping[str, str] = {}


def audit_cells(found: Audited | None, titles: Mapping[str, str] = NO_TITLES) -> tuple[Safe, Safe]:
    """How many audits leak and which: both a dash where nothing was audited. titles: audit -> title."""
    if found is None:
        return join(NOT_YET), join(NOT_YET)
    several = len(found.counts) > 1
    seeds = f"{', '.join(map(str, found.counts))} by seed" if several else None
    told = join(f"{_number(found.leaks)} of {_number(found.applied)}", seeds and tag("div", seeds, class_="le-muted"))
    names = [
        titles.get(name, name) + (f" ({times} of {len(found.counts)})" if several else "")
        for name, times in found.which.items()
    ]
    if len(names) <= _SHOWN:
        return told, tag("div", ", ".join(names) or "none", class_="le-which")
    return told, details(f"{names[0]} and {len(names) - 1} more", ", ".join(names[1:]), class_="le-which")


def audit_values(found: Audited | None) -> list[float | str | None]:
    """The same for a spreadsheet, under `CSV_HEADS`."""
    if found is None:
        return [None] * len(CSV_HEADS)
    which = "; ".join(f"{name} {times}/{len(found.counts)}" for name, times in found.which.items())
    return [found.leaks, found.applied, len(found.counts), which]


def audits_told(board: Board) -> str:
    """What the columns mean, and how little they are."""
    audited = [found for row in board["methods"] if (found := audits_of(row))]
    if not audited:
        return "No method here has been audited yet, hence the dashes: what attacks would get out of them is not known."
    numbers = sorted({len(found.counts) for found in audited})
    seeds = count(numbers[0], "seed") if len(numbers) == 1 else f"{numbers[0]} to {count(numbers[-1], 'seed')}"
    left = len(board["methods"]) - len(audited)
    others = f" A dash stands for {count(left, 'method')} not audited yet." if left else ""
    return (
        "An audit is an attack. It leaks where it gets more of what should be forgotten than it gets of rows that were "
        "never trained, and than the same attack gets from the retain-only model, beyond chance: the fewer leak, the "
        "less the method can be told from that model. "
        f"Over several seeds the number is their mean. Audited {max(found.made for found in audited)} on {seeds}, by "
        f"benchmarks/audits.py.{others} An audit sees at most {board['audits']['rows']} rows and misses what is rare "
        "among them, and a model that lost its language gives little away: the verdict tells that."
    )


def _number(value: float) -> str:
    """Whole, or with one digit."""
    return f"{value:.1f}".removesuffix(".0")
