"""The games under way, so that a page that is loaded anew goes on with its own.

In memory and nowhere else: a game holds the answer that its player looks for, which their browser must not have.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from unlearn_core.store.store import owner_hash

if TYPE_CHECKING:
    from unlearn_core.service.recover import Played

MAX_GAMES = 200  # of as many players; the longest untouched goes first


class Games:
    """The last game of each player, and the run that was on their screen when it began."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Played, str]] = {}
        self._lock = threading.Lock()

    def keep(self, owner: str, played: Played, on_screen: str | None = None) -> None:
        """In place of the player's game before; on_screen: None where it is still the same. Who has no secret of
        their own could not be told from others, so nothing is kept."""
        if not owner:
            return
        key = owner_hash(owner)
        with self._lock:
            _, before = self._kept.pop(key, (None, ""))
            self._kept[key] = played, before if on_screen is None else on_screen
            if len(self._kept) > MAX_GAMES:
                del self._kept[next(iter(self._kept))]

    def of(self, owner: str) -> tuple[Played | None, str]:
        """The player's game, None where there is none, and the run that was on screen."""
        with self._lock:
            return self._kept.get(owner_hash(owner), (None, "")) if owner else (None, "")

    def drop(self, owner: str) -> None:
        """Forget the player's game."""
        with self._lock:
            self._kept.pop(owner_hash(owner), None)
