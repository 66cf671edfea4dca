"""What audits found of the methods of a leaderboard, kept with the rows that it is about.

    row["audits"]      {"settings": SETTINGS, "seeds": {"0": FOUND, "1": FOUND}}
    board["audits"]    {"rows": 60, "retain_only": FOUND, "original": FOUND}     rows that an audit sees at most
    FOUND              {"made": DATE, "applied": 15, "leaks": ["membership", "probes"]}

A row tells the settings that were audited: where its own are others by now, it counts as not audited. A row that is
measured anew has no audits, as its method may have changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any


@dataclass(frozen=True)
class Audited:
    """What audits found of one method's models, one a seed, or of one reference model. made: when the last was
    audited."""

    made: str
    applied: float
    counts: tuple[int, ...]  # of leaks, by seed
    which: Mapping[str, int]  # audit -> in how many of the models it leaks, the most first

    @property
    def leaks(self) -> float:
        return fmean(self.counts)


def audits_of(row: Mapping[str, Any]) -> Audited | None:
    """What audits found of a row of a leaderboard; None where it was not audited with its present settings."""
    found = row.get("audits")
    return _audited(found["seeds"].values()) if found and found["settings"] == row.get("settings") else None


def audits_of_reference(board: Mapping[str, Any], name: str) -> Audited | None:
    """What audits found of a model that the methods are compared with; None where it was not audited."""
    found = board.get("audits", {}).get(name)
    return _audited([found]) if found else None


def fewest_leaks(row: Mapping[str, Any]) -> float:
    """What rows are sorted by where the indistinguishable come first: those not audited come last."""
    found = audits_of(row)
    return found.leaks if found else float("inf")


def _audited(models: Collection[Mapping[str, Any]]) -> Audited:
    return Audited(
        max(model["made"] for model in models),
        fmean(model["applied"] for model in models),
        tuple(len(model["leaks"]) for model in models),
        dict(Counter(name for model in models for name in model["leaks"]).most_common()),
    )
