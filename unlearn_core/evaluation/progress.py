"""How far an evaluation has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of the whole evaluation; `stage` says in words what is being scored."""

    stage: str
    done: int
    total: int
