"""What is watched while a model trains: canaries, the answers it writes, and its best weights so far.

All of it stays within SHARE of the time, measured as it goes: looks at the facts and copies of the weights
get half of it, written answers and a fact of each subject a quarter each. None of it draws a random number or touches a
weight, so that a watched training is the unwatched one bit for bit.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from unlearn_core.system.grouped import grouped
from unlearn_core.system.machine import distributed
from unlearn_core.training.records import (
    BestKept,
    FactAnswers,
    FactProbe,
    Record,
    SubjectsAsked,
    Warned,
    WatchedFact,
)
from unlearn_core.training.resources.budget import Budget
from unlearn_core.training.watching.best_weights import StateKeeper
from unlearn_core.training.watching.canary import Canaries
from unlearn_core.training.watching.fact_probe import FactWatcher
from unlearn_core.training.watching.subject_probe import SubjectWatcher

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHARE = 0.06  # of the training's time that watching may take, half of it for written answers and subjects
MAX_LOOKS = 200  # in a training of any length; a curve of more points looks the same
NUM_MOMENTS = 10  # evenly spread, at which answers are written and subjects asked


class Watch:
    """Looks at a model before, during and after its training.

    first_alert: the step from which a low canary is a cause for warning. clock: seconds of a clock that never
    jumps. The state that a checkpoint must keep is in `state`.
    """

    def __init__(
        self,
        probe: FactWatcher,
        subjects: SubjectWatcher,
        num_steps: int,
        first_alert: int = 0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._probe, self._subjects = probe, subjects
        self._num_steps, self._clock = max(1, num_steps), clock
        self.state: dict[str, Any] = {}
        self.keeper: StateKeeper | None = None  # None: the best weights are not kept
        self._canaries = Canaries(self.state, first_alert)
        self._every = 1

    def begin(self, tokens_per_step: int | None = None) -> None:
        """The training starts now. Without a number of tokens the steps are edits, each taken to be long;
        between them a model may be hooked and cannot write."""
        self._looks = Budget(SHARE / 2, self._clock)
        self._writing, self._asking = Budget(SHARE / 4, self._clock), Budget(SHARE / 4, self._clock)
        self._writes = tokens_per_step is not None
        fewest = math.ceil(self._num_steps / MAX_LOOKS)
        if tokens_per_step:  # a training token costs three forward passes, a watched one costs one
            fewest = max(fewest, math.ceil(self._probe.num_tokens / (3 * SHARE / 2 * tokens_per_step)))
        self._every = fewest

    def after(self, model: PreTrainedModel, step: int) -> Iterator[Record]:
        """What is due after `step` steps; at step 0 the look that all others are held against.

        Looks are due every few steps, by a count of tokens, so that they fall on the same steps each time;
        one that the clock does not allow is left out.
        """
        if step % self._every == 0 and self._fits(self._looks, step):
            yield from self.look(model, step)
        if self._writes and self._is_moment("written", self._writing, step):
            with self._writing.spend():
                answers = self._probe.answers(model)
            if answers:
                yield FactAnswers(step, answers)
        if self._probe.num_facts and self._is_moment("asked", self._asking, step):  # who watches nothing asks nothing
            with self._asking.spend():
                told = self._subjects.told(model)
            if told:
                yield SubjectsAsked(step, told)

    def look(self, model: PreTrainedModel, step: int) -> Iterator[Record]:
        """The watched facts after `step` steps, and what they say."""
        with self._looks.spend():
            facts = self._probe.likelihoods(model)
            means = _means(facts)
            alerts = self._canaries.see(step, means)
            merit = self._canaries.merit(means)
            if merit >= self.state.get("best.merit", 0.0):
                self.state |= {"best.step": step, "best.merit": merit}
                if self.keeper is not None and step:  # those of step 0 are the original's anyhow
                    self.keeper.keep()
        self.state["merit"] = merit
        yield FactProbe(step, facts, self.used, merit, self.state["best.step"])
        yield from alerts

    def keep_best(self, model: PreTrainedModel, last: int) -> Iterator[Record]:
        """Make the weights the best ones seen, the present ones included."""
        if self.keeper is None:
            yield Warned("The best weights on the way could not be kept here; the last ones stand.")
            return
        yield from self.look(model, last)
        self.keeper.put_back()
        yield BestKept(self.state["best.step"], last, self.state["best.merit"], self.state["merit"])

    @property
    def used(self) -> float:
        """Share of the time since the training began that went into watching it."""
        elapsed = self._looks.elapsed
        return (self._looks.spent + self._writing.spent + self._asking.spent) / elapsed if elapsed else 0.0

    def _is_moment(self, name: str, budget: Budget, step: int) -> bool:
        """Whether one of the moments called `name` has come, and the clock allows it."""
        spacing = self._num_steps / (NUM_MOMENTS + 1)
        if step < (self.state.get(name, 0) + 1) * spacing or not self._fits(budget, step):
            return False
        self.state[name] = int(step / spacing)
        return True

    def _fits(self, budget: Budget, step: int) -> bool:
        return step == 0 or distributed.broadcast(budget.fits())


def _means(facts: tuple[WatchedFact, ...]) -> dict[str, float]:
    """Mean probability per token by split."""
    by_split = grouped((fact.split, math.nan if fact.per_token is None else fact.per_token) for fact in facts)
    return {split: sum(values) / len(values) for split, values in by_split.items()}
