"""What a user can do to a run under way, from any thread."""

from __future__ import annotations


class Control:
    """The buttons: stop and discard, end the training early but score it, stop but go on later."""

    def __init__(self) -> None:
        self._orders: set[str] = set()

    def give(self, order: str) -> None:
        self._orders.add(order)

    def was_given(self, order: str) -> bool:
        return order in self._orders

    def cancel(self) -> None:
        """Ask for an end without a result; whoever drives the iterator closes it at the next event."""
        self.give("cancel")

    def finish_early(self) -> None:
        """Ask the training loop to end after the current step; scoring and the verdict follow."""
        self.give("finish")

    def keep_best(self) -> None:
        """The same, but with the best weights that were watched rather than the last ones."""
        self.give("best")  # first, so that it is there when the end is asked for
        self.give("finish")

    def pause(self) -> None:
        """Ask for an end that can be resumed: where the training stands is kept on the way out."""
        self.give("pause")
        self.give("cancel")

    @property
    def keeping_best(self) -> bool:
        return self.was_given("best")

    @property
    def pausing(self) -> bool:
        return self.was_given("pause")

    @property
    def cancelled(self) -> bool:
        return self.was_given("cancel")

    @property
    def finishing(self) -> bool:
        return self.was_given("finish")
