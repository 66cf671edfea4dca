"""What a user can do to a run under way, from any thread."""

from __future__ import annotations

import threading


class Control:
    """The buttons: stop and discard, end the training early but score it, stop but go on later."""

    def __init__(self) -> None:
        self._cancel = threading.Event()
        self._finish = threading.Event()
        self._pause = threading.Event()
        self._best = threading.Event()

    def cancel(self) -> None:
        """Ask for an end without a result; whoever drives the iterator closes it at the next event."""
        self._cancel.set()

    def finish_early(self) -> None:
        """Ask the training loop to end after the current step; scoring and the verdict follow."""
        self._finish.set()

    def keep_best(self) -> None:
        """The same, but with the best weights that were watched rather than the last ones."""
        self._best.set()
        self._finish.set()

    def pause(self) -> None:
        """Ask for an end that can be resumed: where the training stands is kept on the way out."""
        self._pause.set()
        self._cancel.set()

    @property
    def keeping_best(self) -> bool:
        return self._best.is_set()

    @property
    def pausing(self) -> bool:
        return self._pause.is_set()

    @property
    def cancelled(self) -> bool:
        return self._cancel.is_set()

    @property
    def finishing(self) -> bool:
        return self._finish.is_set()
