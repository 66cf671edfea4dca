"""Beyond the protocol: memorisation, truth ratio and membership attacks, from one pass of log-probabilities.

Which answers are measured: gold answers of an even sample of forget, retain and held-out rows, and for
questions a few wrong answers, borrowed from other rows that ask for the same kind of thing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn_core.data.encode import Encoded, encode_example
from unlearn_core.data.types import TASKS, Example, UnlearningData
from unlearn_core.evaluation import membership, token_metrics
from unlearn_core.evaluation.scores import SPLITS, Scores
from unlearn_core.models.likelihood import TokenTrace

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NUM_WRONG = 3  # wrong answers per truth ratio
_MAX_RATIOS = 40  # truth ratios per split


@dataclass(frozen=True, slots=True)
class Probe:
    """One answer to measure. role: gold | right | wrong; `right` is the gold answer to an unseen phrasing."""

    split: str  # forget | retain | holdout
    role: str
    row: Example
    about: str  # id of the row a right or wrong answer belongs to


@dataclass(frozen=True)
class AnswerTraces:
    """The probes of one evaluation and, once filled, the trace of each without its end of text."""

    probes: tuple[Probe, ...] = ()
    traces: tuple[TokenTrace, ...] = ()

    @classmethod
    def plan(cls, data: UnlearningData, max_rows: int) -> AnswerTraces:
        """What to measure on `data`, at most `max_rows` gold answers a split; nothing for 0."""
        if max_rows == 0:
            return cls()
        unseen = {row.id: row for row in data.paraphrases}
        probes: list[Probe] = []
        for split in ("forget", "retain", "holdout"):
            rows = getattr(data, split)
            probes += [Probe(split, "gold", row, row.id) for row in even_sample(rows, max_rows)]
        for split in SPLITS:
            probes += _truth_probes(split, getattr(data, split), unseen, min(max_rows, _MAX_RATIOS))
        return cls(tuple(probes))

    def __len__(self) -> int:
        return len(self.probes)

    def encode(self, tokenizer: PreTrainedTokenizerBase, ask: Callable[[str], str] = str) -> list[Encoded]:
        """The rows to trace, in the order of the probes; `ask` is what stands before the model."""
        rows = [replace(probe.row, input=ask(probe.row.input)) for probe in self.probes]
        return [encode_example(tokenizer, row, i) for i, row in enumerate(rows)]

    def filled(self, found: Sequence[TokenTrace], *, has_end: bool) -> AnswerTraces:
        """With the traces measured. End of text is dropped: it is no part of what was memorised."""
        end = 1 if has_end else 0
        return replace(self, traces=tuple(trace.head(len(trace.log_prob_T) - end) for trace in found))

    def of(self, split: str, role: str = "gold") -> list[tuple[Probe, TokenTrace]]:
        """The measured answers of one split and role, empty ones left out."""
        pairs = zip(self.probes, self.traces, strict=False)
        return [(p, t) for p, t in pairs if p.split == split and p.role == role and len(t.log_prob_T)]

    def nll_summary(self) -> dict[str, Any]:
        """Per split: mean token NLL (nats) and probability of gold answers, and how many were measured."""
        found: dict[str, Any] = {}
        for split in SPLITS:
            values = [trace.nll for _, trace in self.of(split)]
            found[split] = {
                "mean": _mean(values), "probability": _mean([math.exp(-v) for v in values]), "n": len(values),
            }  # fmt: skip
        return found


def memorisation(answers: AnswerTraces) -> dict[str, Any]:
    """Extraction strength, exact memorisation, truth ratios and per-task membership, for `details`."""
    found: dict[str, Any] = {}
    for name, measure in (
        ("extraction_strength", token_metrics.extraction_strength),
        ("exact_memorisation", token_metrics.exact_memorisation),
    ):
        found[name] = {split: _mean([measure(t.is_top_T) for _, t in answers.of(split)]) for split in SPLITS}
    ratios = {split: _truth_ratios(answers, split) for split in SPLITS}
    found["truth_ratios"] = ratios
    found["truth_score"] = {
        "forget": token_metrics.forget_truth_score(ratios["forget"]) if ratios["forget"] else None,
        "retain": token_metrics.retain_truth_score(ratios["retain"]) if ratios["retain"] else None,
    }
    found["auc_by_task"] = {
        task: membership.auc(*(_task_losses(answers, split, task) for split in ("forget", "holdout")))
        for task in TASKS
    }
    return found


def document_attacks(
    members: Sequence[TokenTrace],
    nonmembers: Sequence[TokenTrace],
    member_texts: Sequence[str],
    nonmember_texts: Sequence[str],
) -> dict[str, float | None]:
    """AUC of each membership attack on the documents: loss, zlib, min-k, min-k++ (needs moments)."""
    sides = [
        [(t, text) for t, text in zip(found, texts, strict=True) if len(t.log_prob_T)]
        for found, texts in ((members, member_texts), (nonmembers, nonmember_texts))
    ]
    attacks = {
        "loss": lambda t, text: token_metrics.loss_score(t.log_prob_T),
        "zlib": lambda t, text: token_metrics.zlib_score(t.log_prob_T, text),
        "min_k": lambda t, text: token_metrics.min_k_score(t.log_prob_T),
        "min_k_plus": lambda t, text: token_metrics.min_k_plus_score(t.log_prob_T, t.mean_T, t.std_T),
    }
    return {
        name: membership.auc(*([attack(t, text) for t, text in side] for side in sides))
        for name, attack in attacks.items()
    }


def reference_attack(scores: Scores, reference: Scores) -> float | None:
    """AUC of loss - reference loss (difficulty calibration, Watson et al., arXiv 2111.08440, eq. 3), the
    reference never having seen the members. None where the two were not scored on the same documents."""
    sides = []
    for name in ("member_losses", "nonmember_losses"):
        ours, theirs = scores.details.get(name, []), reference.details.get(name, [])
        if len(ours) != len(theirs):
            return None
        sides.append([a - b for a, b in zip(ours, theirs, strict=True)])
    return membership.auc(*sides)


def forget_quality(unlearned: Scores, retain_only: Scores) -> dict[str, Any] | None:
    """TOFU's forget quality of two scored models; see `token_metrics.forget_quality`."""
    ratios = [scores.details.get("truth_ratios", {}).get("forget", []) for scores in (unlearned, retain_only)]
    return token_metrics.forget_quality(*ratios)


def compared(scores: Scores, retain_only: Scores) -> Scores:
    """`scores` with what only shows beside the retain-only model: reference attack and forget quality."""
    attacks = scores.details.get("attacks", {}) | {"reference": reference_attack(scores, retain_only)}
    quality = forget_quality(scores, retain_only)
    return replace(scores, details=scores.details | {"attacks": attacks, "forget_quality": quality})


def even_sample(rows: Sequence[Any], size: int) -> list[Any]:
    """At most `size` of `rows`, evenly spaced, so that every task and kind stays represented."""
    if len(rows) <= size:
        return list(rows)
    return [rows[i * len(rows) // size] for i in range(size)]


def _truth_probes(split: str, rows: Sequence[Example], unseen: dict[str, Example], size: int) -> list[Probe]:
    """A right and some wrong answers to questions; the wrong ones are right for other rows of the same kind.

    TOFU rephrases the right answer; here, where the data has one, the question is the one rephrased.
    """
    questions = [row for row in rows if row.kind == "question"]
    alike: dict[tuple[str, str], list[Example]] = {}
    for row in questions:
        alike.setdefault((row.task, row.id[-3:]), []).append(row)
        alike.setdefault((row.task, ""), []).append(row)
    probes: list[Probe] = []
    for row in even_sample(questions, size):
        # Ids that end alike ask for the same kind of thing (LUME's `qa0` .. `qa4`); else any of the task.
        wrong = _other_answers(row, alike[row.task, row.id[-3:]]) or _other_answers(row, alike[row.task, ""])
        if not wrong:
            continue
        asked = unseen.get(row.id, row)
        probes.append(Probe(split, "right", replace(row, input=asked.input), row.id))
        probes += [Probe(split, "wrong", replace(row, output=answer), row.id) for answer in wrong]
    return probes


def _other_answers(row: Example, alike: Sequence[Example]) -> list[str]:
    start = next((i for i, other in enumerate(alike) if other is row), 0)
    following = (alike[(start + step) % len(alike)].output for step in range(1, len(alike)))
    different = dict.fromkeys(answer for answer in following if answer.strip() != row.output.strip())
    return list(itertools.islice(different, NUM_WRONG))


def _truth_ratios(answers: AnswerTraces, split: str) -> list[float]:
    wrong: dict[str, list[float]] = {}
    for probe, trace in answers.of(split, "wrong"):
        wrong.setdefault(probe.about, []).append(trace.nll)
    return [
        token_metrics.truth_ratio(trace.nll, wrong[probe.about])
        for probe, trace in answers.of(split, "right")
        if probe.about in wrong
    ]


def _task_losses(answers: AnswerTraces, split: str, task: str) -> list[float]:
    return [trace.nll for probe, trace in answers.of(split) if probe.row.task == task]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
