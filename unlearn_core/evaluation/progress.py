"""How far an evaluation has come."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of the whole evaluation; `stage` says in words what is being scored."""

    stage: str
    done: int
    total: int


def result_of(work: Generator[object, None, Result]) -> Result:
    """Run `work` to its end, where nobody watches its progress, and give what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: Result = done.value
            return result
