"""How much each visitor took of late, kept in memory only and forgotten as soon as it no longer counts."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from unlearn_core.errors import ResourceError
from unlearn_core.limits import ALLOWANCES, EVERYBODY, KEPT_SHARES, PER_ADDRESS, Allowance

_SWEPT_EVERY = 1_000  # takings between two looks for visitors who took nothing of late
_GRAINS = 60  # parts of a window: takings within one count as one, so that many small ones take no memory


@dataclass
class _Usage:
    """What somebody took of one kind: (time, amount) from the oldest on, and the sum."""

    parts: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def forget(self, until: float) -> None:
        while self.parts and self.parts[0][0] <= until:
            self.total -= self.parts.popleft()[1]

    def add(self, now: float, amount: int, grain: float) -> None:
        self.total += amount
        if self.parts and now - self.parts[-1][0] < grain:
            amount += self.parts[-1][1]
            now = self.parts.pop()[0]
        self.parts.append((now, amount))


class Quotas:
    """Sliding windows by visitor, by address and for all visitors together; safe to use from any thread.

    A visitor is named by a page and an address, both as hashes (see `ui.web.visitor`); "" for what is not
    known. The last of what all visitors have together is for addresses that took little.
    """

    def __init__(
        self, allowances: Mapping[str, Allowance] = ALLOWANCES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.allowances, self._clock = allowances, clock
        self._taken: dict[tuple[str, str, str], _Usage] = {}
        self._lock = threading.Lock()
        self._number = 0

    def take(self, kind: str, page: str, address: str, amount: int = 1, room: int = 0) -> None:
        """Note that this visitor takes so much of `kind`. ResourceError, with the time until enough is free
        again, where that would be more than there is, or leave less than `room`; then nothing is noted."""
        allowance, now = self.allowances[kind], self._clock()
        with self._lock:
            self._sweep(now)
            shares = list(self._shares(kind, allowance, page, address, now))
            wanted = amount + room
            for whose, taken, most in shares:
                if taken.total + wanted > most:
                    raise _used_up(allowance, whose, most, _wait(taken, wanted, most, allowance, now))
            for _, taken, _ in shares:
                taken.add(now, amount, allowance.seconds / _GRAINS)

    def _shares(
        self, kind: str, allowance: Allowance, page: str, address: str, now: float
    ) -> Iterator[tuple[str, _Usage, int]]:
        """Whom the taking counts against, what they took, and how much each may take."""
        since, amount = now - allowance.seconds, allowance.amount
        if page:
            yield "yours", self._recent(kind, "yours", page, since), amount
        took = self._recent(kind, "your network's", address, since) if address else None
        if took is not None:
            yield "your network's", took, amount * PER_ADDRESS
        kept = 0 if took is not None and took.total < amount else KEPT_SHARES
        yield "all visitors'", self._recent(kind, "all visitors'", "", since), amount * (EVERYBODY - kept)

    def _recent(self, kind: str, whose: str, key: str, since: float) -> _Usage:
        taken = self._taken.setdefault((kind, whose, key), _Usage())
        taken.forget(since)
        return taken

    def _sweep(self, now: float) -> None:
        self._number += 1
        if self._number % _SWEPT_EVERY:
            return
        for (kind, whose, key), taken in list(self._taken.items()):
            taken.forget(now - self.allowances[kind].seconds)
            if not taken.parts:
                del self._taken[kind, whose, key]


def _wait(taken: _Usage, amount: int, most: int, allowance: Allowance, now: float) -> float | None:
    """Seconds until enough has gone out of the window; None where it never will."""
    if amount > most:
        return None
    over = taken.total + amount - most
    for at, number in taken.parts:
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
