"""What a user can do to a run under way, from any thread."""

from __future__ import annotations

import threading


class Control:
    """Two buttons: stop and discard, and stop training early but keep and score what there is."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._finish = threading.Event()

    def cancel(self) -> None:
        """Ask for an end without a result; whoever drives the iterator closes it at the next event."""
        self._cancel.set()

    def finish_early(self) -> None:
        """Ask the training loop to end after the current step; scoring and the verdict follow."""
        self._finish.set()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    @property
    def finishing(self) -> bool:
        return self._finish.is_set()
