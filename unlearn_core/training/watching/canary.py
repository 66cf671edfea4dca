"""The canaries: answers that must survive, and what their fading says of a run under way.

A canary is the mean probability per token of a few gold answers of one kind. It is down when it stood below LIMIT of
its start at PATIENCE looks in a row, and up again at the first look above; some methods let canaries fall
and bring them back (`Traits.recovers_by`), and until then they are not called down. How good the weights of
a look are is the harmonic mean of how far the watched secrets have faded and of what the lowest canary has
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unlearn_core.training.records import CanaryAlert

CANARIES = ("retain", "neighbours", "general")  # the splits that must survive
LIMIT = 0.8  # of its start, below which a canary is low
PATIENCE = 2  # looks in a row that a canary must be low before it counts as down
KNOWN = 0.05  # mean probability per token below which the original does not know the answers well enough to tell


class Canaries:
    """Follows the mean probability of each split from look to look.

    All it remembers is in `state`: plain numbers, so that a run that was interrupted goes on with them.
    """

    def __init__(self, state: dict[str, Any], first_alert: int = 0) -> None:
        """first_alert: the step from which a low canary counts as down."""
        self.state, self._first_alert = state, first_alert

    def see(self, step: int, means: Mapping[str, float]) -> list[CanaryAlert]:
        """Take in the means after `step` (the first ones are the start); what went down or came up."""
        alerts = []
        for split, mean in means.items():
            start = self.state.setdefault(f"start.{split}", mean)
            if split not in CANARIES or start < KNOWN:
                continue
            before = self.state.get(f"low.{split}", 0)
            another = int(step != self.state.get("seen"))  # the end of a training is looked at twice
            low = 0 if mean >= LIMIT * start else before + another  # not a number is low too
            down = low >= PATIENCE and step >= self._first_alert
            if down != bool(self.state.get(f"down.{split}")):
                alerts.append(CanaryAlert(step, split, start, mean, down))
            self.state |= {f"low.{split}": low, f"down.{split}": int(down)}
        self.state["seen"] = step
        return alerts

    def merit(self, means: Mapping[str, float]) -> float:
        """0 (nothing forgotten, or nothing kept) to 1, as the head of this file says."""
        gone = 1 - self._left("forget", means)
        kept = min((self._left(split, means) for split in CANARIES), default=1.0)
        return 2 * gone * kept / (gone + kept) if gone + kept else 0.0

    def _left(self, split: str, means: Mapping[str, float]) -> float:
        """The share of its start at which a mean stands; 1 where the original did not know it."""
        start = self.state.get(f"start.{split}", 0.0)
        return min(1.0, means[split] / start) if split in means and start >= KNOWN else 1.0
