"""Which answers are measured beyond the protocol, and the trace of each, from one pass of log-probabilities.

Gold answers of an even sample of forget, retain and held-out rows, and for questions a few wrong answers,
borrowed from other rows that ask for the same kind of thing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlearn_core.data.encode import Encoded, encode_example
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.scores import SPLITS
from unlearn_core.models.inference.likelihood import TokenTrace
from unlearn_core.system.grouped import grouped
from unlearn_core.training.watching.fact_probe import select

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NUM_WRONG = 3  # wrong answers per truth ratio
_MAX_RATIOS = 40  # truth ratios per split


@dataclass(frozen=True, slots=True)
class MeasuredAnswer:
    """One answer to measure. role: gold | right | wrong | watched; `right` is the gold answer to an unseen phrasing."""

    split: str  # forget | retain | holdout
    role: str
    row: Example
    about: str  # id of the row a right or wrong answer belongs to
    comparable: bool = True  # whether the wrong answers beside it are of its kind


@dataclass(frozen=True)
class AnswerTraces:
    """The probes of one evaluation and, once filled, the trace of each without its end of text."""

    probes: tuple[MeasuredAnswer, ...] = ()
    traces: tuple[TokenTrace, ...] = ()

    @classmethod
    def plan(cls, data: UnlearningData, max_rows: int) -> AnswerTraces:
        """What to measure on `data`, at most `max_rows` gold answers a split; nothing for 0."""
        if max_rows == 0:
            return cls()
        unseen = {row.id: row for row in data.paraphrases}
        probes: list[MeasuredAnswer] = []
        for split in ("forget", "retain", "holdout"):
            rows = getattr(data, split)
            probes += [MeasuredAnswer(split, "gold", row, row.id) for row in even_sample(rows, max_rows)]
        probes += [MeasuredAnswer(split, "watched", row, row.id) for row, split in select(data)]
        for split in SPLITS:
            probes += _truth_probes(split, getattr(data, split), unseen, min(max_rows, _MAX_RATIOS))
        return cls(tuple(probes))

    def __len__(self) -> int:
        return len(self.probes)

    def encode(self, tokenizer: PreTrainedTokenizerBase, ask: Callable[[str], str] = str) -> list[Encoded]:
        """The rows to trace, in the order of the probes; `ask` is what stands before the model."""
        rows = [replace(probe.row, input=ask(probe.row.input)) for probe in self.probes]
        return [encode_example(tokenizer, row, i) for i, row in enumerate(rows)]

    def filled(self, found: Sequence[TokenTrace], num_end: Sequence[int]) -> AnswerTraces:
        """With the traces measured. What closes an answer is dropped: it is no part of what was memorised."""
        pairs = zip(found, num_end, strict=True)
        return replace(self, traces=tuple(trace.head(len(trace.log_prob_T) - end) for trace, end in pairs))

    def of(self, split: str, role: str = "gold") -> list[tuple[MeasuredAnswer, TokenTrace]]:
        """The measured answers of one split and role, empty ones left out."""
        pairs = zip(self.probes, self.traces, strict=False)
        return [(p, t) for p, t in pairs if p.split == split and p.role == role and len(t.log_prob_T)]


def _truth_probes(split: str, rows: Sequence[Example], unseen: dict[str, Example], size: int) -> list[MeasuredAnswer]:
    """A right and some wrong answers to questions; the wrong ones are right for other rows of the same kind.

    TOFU rephrases the right answer; here, where the data has one, the question is the one rephrased.
    """
    questions = [row for row in rows if row.kind == "question"]
    alike = grouped(((row.task, topic), row) for row in questions for topic in (row.topic, ""))
    probes: list[MeasuredAnswer] = []
    for row in even_sample(questions, size):
        # Rows of one topic ask for the same kind of thing; else any of the task.
        others = (other_answers(row, alike[row.task, topic]) for topic in (row.topic, ""))
        wrong = next(filter(None, (list(itertools.islice(found, NUM_WRONG)) for found in others)), None)
        if wrong is None:
            continue
        asked = unseen.get(row.id, row)
        comparable = all(_same_kind(row, other) for other in wrong)
        probes.append(MeasuredAnswer(split, "right", replace(row, input=asked.input), row.id, comparable))
        probes += [MeasuredAnswer(split, "wrong", replace(row, output=o.output), row.id, comparable) for o in wrong]
    return probes


def other_answers(row: Example, alike: Sequence[Example]) -> Iterator[Example]:
    """The rows after `row` among `alike`, round to itself, that have another answer, one of each answer."""
    start = next(i for i, other in enumerate(alike) if other.id == row.id)
    given: set[str] = set()
    for other in (*alike[start + 1 :], *alike[:start]):
        if other.output.strip() != row.output.strip() and other.output not in given:
            given.add(other.output)
            yield other


def _same_kind(row: Example, other: Example) -> bool:
    """Whether the other answer could be this row's: of one topic, or of another subject where topics are not named.
    Two facts about one subject, such as where and when somebody was born, are of different kinds."""
    if row.topic and other.topic:
        return row.topic == other.topic
    return not row.subject or row.subject != other.subject
