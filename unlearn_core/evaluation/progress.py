"""How far an evaluation has come."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Progress:
    """`done` of `total` units of the whole evaluation; `stage` says in words what is being scored."""

    stage: str
    done: int
    total: int


def result_of(work: Generator[object, None, Result]) -> Result:
    """Run `work` to its end, where nobody watches its progress, and give what it returns."""
    parts = ResultIterator(work)
    for _ in parts:
        pass
    return parts.result


class ResultIterator(Generic[Part, Result]):
    """`work`, to go through part by part; `result` is what it returned, once it is over.

    Whoever leaves early leaves `work` where it stands, as `yield from` would not: a run that is interrupted stores its
    training before that is closed.
    """

    result: Result

    def __init__(self, work: Generator[Part, None, Result]) -> None:
        self._work = work

    def __iter__(self) -> Iterator[Part]:
        while True:
            try:
                part = next(self._work)
            except StopIteration as done:
                self.result = done.value
                return
            yield part
