"""Training something small beside a model whose weights stay as they are, for methods that need such."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch

from unlearn_core.data.encode import Cycle, Encoded
from unlearn_core.methods.base import Context, Edit, EditedUnit, Losses, Method, parameter

Rows = dict[str, list[Encoded]]


@dataclass(frozen=True)
class AuxiliaryTraining(Edit):
    """An edit whose units are optimiser steps on parameters of its own."""

    learning_rate: float = parameter(1e-2, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(60, "Optimiser steps; left alone, more for a larger forget set", 1, 100_000)
    batch_size: int = parameter(24, "Forget sequences per step", 1, 4096)

    def for_rows(self, num_forget: int, most: int = 100_000, given: Collection[str] = ()) -> Method:
        """As for any other method with steps."""
        return Method.for_rows(self, num_forget, most, given)

    def fit(
        self,
        context: Context,
        parameters: Sequence[torch.nn.Parameter],
        losses: Callable[[Rows], Losses],
        steps: int,
        only: Sequence[int] | None = None,
    ) -> Iterator[EditedUnit]:
        """Train `parameters` for `steps` steps, on the forget rows `only` where given; one unit a step."""
        optimiser = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=0.0)
        num_weights = sum(p.numel() for p in parameters)
        for step in range(steps):
            optimiser.param_groups[0]["lr"] = self.learning_rate * (steps - step) / steps
            rows = self._rows(context, step, only)
            with torch.enable_grad():
                found = losses(rows)
                found.total.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            numbers = {name: value.item() for name, value in found.named().items()}
            yield EditedUnit(numbers, num_weights, sum(len(row.ids) for part in rows.values() for row in part))

    def _rows(self, context: Context, step: int, only: Sequence[int] | None) -> Rows:
        """The sequences of a step: each part gone through whole before any of it comes again."""
        rows = {}
        for place, name in enumerate(("forget", "retain")):
            if name not in context.parts:
                continue
            pool = context.parts[name].rows
            members = only if only is not None and name == "forget" else range(len(pool))
            cycle = Cycle(members, min(self.batch_size, len(members)), context.seed + place)
            rows[name] = [pool[row] for row in cycle.rows(step)]
        return rows
