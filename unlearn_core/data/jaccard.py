"""How alike two sets are."""

from __future__ import annotations

from collections.abc import Set
from typing import TypeVar

Item = TypeVar("Item")


def jaccard(one: Set[Item], other: Set[Item]) -> float:
    """The share (0..1) of what is in either that is in both; one of them must have something in it."""
    return len(one & other) / len(one | other)
