"""How much each visitor took of late, kept in memory only and forgotten as soon as it no longer counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping

from unlearn_core.errors import ResourceError
from unlearn_core.limits import ALLOWANCES, EVERYBODY, PER_ADDRESS, Allowance

_SWEPT_EVERY = 1_000  # takings between two looks for visitors who took nothing of late


class Quotas:
    """Sliding windows by visitor, by address and for all visitors together; safe to use from any thread.

    A visitor is named by a page and an address, both as hashes (see `ui.visitor`); "" for what is not known.
    """

    def __init__(
        self, allowances: Mapping[str, Allowance] = ALLOWANCES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.allowances, self._clock = allowances, clock
        self._taken: dict[tuple[str, str, str], deque[tuple[float, int]]] = {}
        self._lock = threading.Lock()
        self._number = 0

    def take(self, kind: str, page: str, address: str, amount: int = 1) -> None:
        """Note that this visitor takes so much of `kind`. ResourceError, with the time until enough is free
        again, where that would be more than there is; then nothing is noted."""
        allowance, now = self.allowances[kind], self._clock()
        with self._lock:
            self._sweep(now)
            for whose, key, most in _shares(allowance, page, address):
                taken = self._recent(kind, whose, key, now - allowance.seconds)
                if sum(number for _, number in taken) + amount > most:
                    raise _used_up(allowance, whose, most, _wait(taken, amount, most, allowance, now))
            for whose, key, _ in _shares(allowance, page, address):
                self._taken.setdefault((kind, whose, key), deque()).append((now, amount))

    def _recent(self, kind: str, whose: str, key: str, since: float) -> deque[tuple[float, int]]:
        taken = self._taken.get((kind, whose, key), deque())
        while taken and taken[0][0] <= since:
            taken.popleft()
        return taken

    def _sweep(self, now: float) -> None:
        self._number += 1
        if self._number % _SWEPT_EVERY:
            return
        for kind, whose, key in list(self._taken):
            if not self._recent(kind, whose, key, now - self.allowances[kind].seconds):
                del self._taken[kind, whose, key]


def _shares(allowance: Allowance, page: str, address: str) -> Iterator[tuple[str, str, int]]:
    """Whom the taking counts against, and how much each may take."""
    if page:
        yield "yours", page, allowance.amount
    if address:
        yield "your network's", address, allowance.amount * PER_ADDRESS
    yield "all visitors'", "", allowance.amount * EVERYBODY


def _wait(
    taken: deque[tuple[float, int]], amount: int, most: int, allowance: Allowance, now: float
) -> float | None:
    """Seconds until enough has gone out of the window; None where it never will."""
    if amount > most:
        return None
    over = sum(number for _, number in taken) + amount - most
    for at, number in taken:
        over -= number
        if over <= 0:
            return at + allowance.seconds - now
    return float(allowance.seconds)


def _used_up(allowance: Allowance, whose: str, most: int, wait: float | None) -> ResourceError:
    window = "an hour" if allowance.seconds == 3600 else "a minute"
    mend = "That is more than there ever is." if wait is None else f"There is room again in {in_words(wait)}."
    return ResourceError(allowance.title, f"{most:,} {window}", f"are used up; this limit is {whose}", mend)


def in_words(seconds: float) -> str:
    """`12 s`, `3 min`: rounded up, so that whoever comes back then is served."""
    return f"{int(seconds) + 1} s" if seconds < 90 else f"{int(seconds / 60) + 1} min"
