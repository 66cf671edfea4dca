"""The scores that a verdict is drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict.terms import floors, of


@dataclass(frozen=True)
class ScoredModels:
    """What is compared: `retain_only` where a model is known that never saw the forget set."""

    original: Scores
    unlearned: Scores
    retain_only: Scores | None = None

    @property
    def floors(self) -> dict[str, float]:
        """What the forget terms of a model that never saw the forget set are."""
        found = floors(self.unlearned.details.rouge_floors)
        if self.retain_only is not None:
            found |= {name: v for name, v in self.retain_only.terms.items() if v is not None and of(name, "forget")}
        return found

    def about(self, split: str, what: str) -> tuple[Any, Any]:
        """One field of the details, of one split, of the original and of the unlearned model."""
        before, now = (getattr(s.details, what).get(split) for s in (self.original, self.unlearned))
        return before, now
