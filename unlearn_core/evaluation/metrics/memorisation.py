"""Memorisation, truth ratios and membership attacks, from log-probabilities that were measured.

SPLITS are those of `scores`; a mapping by split has None where there was nothing to measure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from unlearn_core.data.types import TASKS
from unlearn_core.evaluation.metrics import membership, token_metrics
from unlearn_core.evaluation.metrics.token_metrics import KolmogorovSmirnov
from unlearn_core.evaluation.score_details import AnswerLikelihood, Preferred
from unlearn_core.evaluation.scores import SPLITS, Scores
from unlearn_core.models.inference.answer_probability import log_probability
from unlearn_core.system.grouped import grouped
from unlearn_core.training.records import WATCHED_SPLITS

if TYPE_CHECKING:
    from unlearn_core.evaluation.metrics.answer_traces import AnswerTraces
    from unlearn_core.models.inference.likelihood import TokenTrace


def likelihoods(answers: AnswerTraces) -> dict[str, AnswerLikelihood]:
    """How likely the gold answers of each split are."""
    found = {}
    for split in SPLITS:
        traces = [trace for _, trace in answers.of(split)]
        logs = [log_probability(trace.log_prob_T) for trace in traces]
        middle = statistics.median(logs) if logs else None
        probability = None if middle is None else math.exp(middle)
        found[split] = AnswerLikelihood(_mean(trace.nll for trace in traces), middle, probability, len(traces))
    return found


def memorised(answers: AnswerTraces, measure: Callable[[np.ndarray], float]) -> dict[str, float | None]:
    """The mean over gold answers of each split of `measure`, which reads where the answer's token was on top."""
    return {split: _mean([measure(trace.is_top_T) for _, trace in answers.of(split)]) for split in SPLITS}


def truth_ratios(answers: AnswerTraces) -> dict[str, list[float]]:
    """Per row, wrong answers over the right one, each per token."""
    found = {}
    for split in SPLITS:
        wrong = _wrong_nlls(answers, split)
        right = [(trace.nll, wrong[a.about]) for a, trace in answers.of(split, "right") if a.about in wrong]
        found[split] = [token_metrics.truth_ratio(nll, others) for nll, others in right]
    return found


def truth_scores(answers: AnswerTraces) -> dict[str, float | None]:
    """TOFU's aggregates of the truth ratios, both better when higher."""
    ratios = truth_ratios(answers)
    return {
        "forget": token_metrics.forget_truth_score(ratios["forget"]) if ratios["forget"] else None,
        "retain": token_metrics.retain_truth_score(ratios["retain"]) if ratios["retain"] else None,
    }


def watched(answers: AnswerTraces) -> dict[str, float]:
    """log p (nats) of the answers that are watched while a model trains, by row id, so that the models it is read
    against have a line."""
    return {
        answer.about: log_probability(trace.log_prob_T)
        for split in WATCHED_SPLITS
        for answer, trace in answers.of(split, "watched")
    }


def preferred(answers: AnswerTraces) -> dict[str, Preferred]:
    """Of the right answers of each split, how many are likelier, per token, than every wrong one of their kind."""
    found = {}
    for split in SPLITS:
        wrong = _wrong_nlls(answers, split)
        measured = (pair for pair in answers.of(split, "right") if pair[0].comparable and pair[0].about in wrong)
        right = [(trace.nll, wrong[answer.about]) for answer, trace in measured]
        hits = sum(nll < min(others) for nll, others in right)
        found[split] = Preferred(hits, len(right), _mean(1 / (1 + len(others)) for _, others in right))
    return found


def auc_by_task(answers: AnswerTraces) -> dict[str, float | None]:
    """Membership AUC of the loss of the forget set's gold answers against held-out ones, by task."""
    return {
        task: membership.auc(*(_task_losses(answers, split, task) for split in ("forget", "holdout"))) for task in TASKS
    }


def document_attacks(
    members: Sequence[TokenTrace],
    nonmembers: Sequence[TokenTrace],
    member_texts: Sequence[str],
    nonmember_texts: Sequence[str],
) -> dict[str, float | None]:
    """AUC of each membership attack on the documents: loss, zlib, min-k, min-k++ (needs moments); None where there
    are none of either sort."""
    sides = [
        [(t, text) for t, text in zip(found, texts, strict=True) if len(t.log_prob_T)]
        for found, texts in ((members, member_texts), (nonmembers, nonmember_texts))
    ]
    attacks: dict[str, Callable[[TokenTrace, str], float]] = {
        "loss": lambda t, text: token_metrics.loss_score(t.log_prob_T),
        "zlib": lambda t, text: token_metrics.zlib_score(t.log_prob_T, text),
        "min_k": lambda t, text: token_metrics.min_k_score(t.log_prob_T),
        "min_k_plus": lambda t, text: token_metrics.min_k_plus_score(t.log_prob_T, t.mean_T, t.std_T),
    }
    if not all(sides):
        return dict.fromkeys(attacks)
    return {
        name: membership.auc(*([attack(t, text) for t, text in side] for side in sides))
        for name, attack in attacks.items()
    }


def reference_attack(scores: Scores, reference: Scores) -> float | None:
    """AUC of loss - reference loss (difficulty calibration, Watson et al., arXiv 2111.08440, eq. 3), the
    reference never having seen the members. None where the two were not scored on the same documents."""
    ours, theirs = scores.details, reference.details
    sides = ((ours.member_losses, theirs.member_losses), (ours.nonmember_losses, theirs.nonmember_losses))
    if any(len(own) != len(others) for own, others in sides):
        return None
    return membership.auc(*([a - b for a, b in zip(own, others, strict=True)] for own, others in sides))


def forget_quality(scores: Scores, retain_only: Scores) -> KolmogorovSmirnov | None:
    """TOFU's forget quality of two scored models; see `token_metrics.forget_quality`."""
    ratios = [one.details.truth_ratios.get("forget", []) for one in (scores, retain_only)]
    return token_metrics.forget_quality(*ratios)


def compared(scores: Scores, retain_only: Scores) -> Scores:
    """`scores` with what only shows beside the retain-only model: reference attack and forget quality."""
    attacks = {**scores.details.attacks, "reference": reference_attack(scores, retain_only)}
    quality = forget_quality(scores, retain_only)
    return replace(scores, details=replace(scores.details, attacks=attacks, forget_quality=quality))


def _wrong_nlls(answers: AnswerTraces, split: str) -> dict[str, list[float]]:
    return grouped((answer.about, trace.nll) for answer, trace in answers.of(split, "wrong"))


def _task_losses(answers: AnswerTraces, split: str, task: str) -> list[float]:
    return [trace.nll for answer, trace in answers.of(split) if answer.row.task == task]


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.mean(found)) if found else None
