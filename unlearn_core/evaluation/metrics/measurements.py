"""What was measured on one model: the generations, losses and choices that every metric is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.metrics.utility import Utility, utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import Generation

if TYPE_CHECKING:
    from unlearn_core.evaluation.metrics.answer_traces import AnswerTraces
    from unlearn_core.models.inference.likelihood import TokenTrace


@dataclass(frozen=True)
class Measurements:
    """One model on one data set. `extras`: whether what lies beyond the protocol was measured too."""

    data: UnlearningData
    generations: Sequence[Generation]
    members: Sequence[TokenTrace]
    nonmembers: Sequence[TokenTrace]
    free_text: Sequence[TokenTrace]
    choices: Sequence[int]  # the option chosen of each question
    answers: AnswerTraces
    beneath_hash: str = ""
    extras: bool = True
    bootstrap_samples: int = 1000

    @cached_property
    def terms(self) -> Mapping[str, float | None]:
        return semeval.terms((g.split, g.task, g.kind, g.score) for g in self.generations)

    @cached_property
    def aggregated(self) -> list[float | None]:
        return semeval.aggregated(self.terms)

    @cached_property
    def partial_aggregate(self) -> float | None:
        return semeval.partial_aggregate(self.aggregated)

    @cached_property
    def totals(self) -> Mapping[str, object]:
        return semeval.totals(self.aggregated, self.auc, self.utility.accuracy)

    @cached_property
    def member_losses(self) -> list[float]:
        return losses(self.members)

    @cached_property
    def nonmember_losses(self) -> list[float]:
        return losses(self.nonmembers)

    @cached_property
    def auc(self) -> float | None:
        return membership.auc(self.member_losses, self.nonmember_losses)

    @cached_property
    def utility(self) -> Utility:
        return utility(self.data.questions, self.choices, self.data.question_form)


def losses(traces: Sequence[TokenTrace]) -> list[float]:
    """The mean token NLL (nats) of each sequence that has a token."""
    return [trace.nll for trace in traces if len(trace.log_prob_T)]
