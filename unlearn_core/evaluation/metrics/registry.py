"""Every metric of a score by name: what it is called, its unit, which way is better, and how it is computed.

`Scores` and `ScoreDetails` have one field for each (a test holds that), and the cache of scores is keyed by
`schema`, so that scores kept before a metric came are measured anew rather than shown without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.metrics import membership, token_metrics
from unlearn_core.evaluation.metrics.fluency import Fluency, fluency, vocabulary
from unlearn_core.evaluation.metrics.measurements import Measurements, losses
from unlearn_core.evaluation.metrics.memorisation import (
    auc_by_task,
    document_attacks,
    likelihoods,
    memorised,
    preferred,
    truth_ratios,
    truth_scores,
    watched,
)
from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.score_details import AnswerLikelihood, PerfectForgetting, Preferred, ScoreDetails
from unlearn_core.evaluation.scores import GENERAL, NEIGHBOURS, PARAPHRASE, SPLITS, Generation, Scores


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `higher_is_better` is None where neither is, or where the best value is the retain model's.

    `extra`: it is of what lies beyond the protocol, and left out where that is not measured. `version` is raised
    with a change of what it computes.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool | None
    compute: Callable[[Measurements], object]
    extra: bool = False
    version: int = 1
    field: str = ""  # of the scores, where it has another name


def missing(measured: Measurements) -> list[str]:
    """What could not be scored, in words: "not available" rather than a silent number."""
    data, absent = measured.data, [name for name, value in measured.terms.items() if value is None]
    found = [f"{len(absent)} of {len(measured.terms)} terms: no such rows ({', '.join(absent)})"] if absent else []
    if not data.members or not data.nonmembers:
        found.append("membership inference: no documents")
    if not data.questions:
        found.append("utility: no questions")
    if not data.paraphrases:
        found.append("unseen phrasings: none given")
    return found


def paraphrase_means(generations: Sequence[Generation]) -> dict[str, float | None]:
    """Mean score of each split where it is asked in phrasings that were never trained on."""
    means: dict[str, float | None] = {}
    for split in SPLITS:
        values = [g.score for g in generations if g.split == split + PARAPHRASE]
        means[split] = sum(values) / len(values) if values else None
    return means


def bands(measured: Measurements) -> PerfectForgetting | None:
    """Where the membership figures of a model that never saw the documents lie, for so many of them."""
    found = membership.perfect_forgetting(len(measured.member_losses), len(measured.nonmember_losses))
    return None if found is None else PerfectForgetting(*found)


def language(data: UnlearningData, generations: Sequence[Generation]) -> dict[str, Fluency | None]:
    """Fluency of what was written, by split; words that the data uses are known ones."""
    rows = (*data.forget, *data.retain, *data.paraphrases, *data.general, *data.neighbours)
    texts = [text for row in rows for text in (row.input, row.output)]
    known = vocabulary([*texts, *data.members, *data.nonmembers])
    found = {}
    for split in (*SPLITS, NEIGHBOURS, GENERAL):
        own = [g for g in generations if g.split == split]
        found[split] = fluency([g.output for g in own], known, [g.gold for g in own])
    return found


def rouge_floors(data: UnlearningData) -> dict[str, float]:
    """By task, the ROUGE-L recall of one forgotten text against another."""
    rows = (row for row in data.forget if row.kind == "completion")
    return semeval.rouge_floors((row.task, row.document_id, row.output) for row in rows)


def attacks(measured: Measurements) -> dict[str, float | None]:
    """AUC of each membership attack on the documents."""
    data = measured.data
    return document_attacks(measured.members, measured.nonmembers, data.members, data.nonmembers)


def _interval(m: Measurements) -> tuple[float, float] | None:
    return membership.bootstrap_interval(m.member_losses, m.nonmember_losses, m.bootstrap_samples)


def _strength(m: Measurements) -> dict[str, float | None]:
    return memorised(m.answers, token_metrics.extraction_strength)


def _exact(m: Measurements) -> dict[str, float | None]:
    return memorised(m.answers, token_metrics.exact_memorisation)


def _total(name: str) -> Callable[[Measurements], object]:
    return lambda m: m.totals[name]


_TOTALS = tuple(
    Metric(total.name, total.title, total.unit, total.higher_is_better, _total(total.name)) for total in semeval.TOTALS
)
_TERMS = (
    Metric("terms", "Plain means of the terms", "share", None, lambda m: dict(m.terms)),
    Metric("aggregated_terms", "Terms as the aggregate counts them", "share", True, lambda m: m.aggregated),
)
DETAILS = (
    Metric("missing", "What could not be scored", "sentences", None, missing),
    Metric("paraphrases", "In unseen phrasings", "share", None, lambda m: paraphrase_means(m.generations)),
    Metric("partial_aggregate", "Mean of the terms there are", "share", True, lambda m: m.partial_aggregate),
    Metric("num_terms", "Terms there are", "count", None, lambda m: sum(v is not None for v in m.aggregated)),
    Metric("limiting_term", "Lowest term", "name", None, lambda m: semeval.limiting_term(m.aggregated)),
    Metric("member_losses", "Loss of forgotten documents", "nats per token", None, lambda m: m.member_losses),
    Metric("nonmember_losses", "Loss of never-seen documents", "nats per token", None, lambda m: m.nonmember_losses),
    Metric("free_text_losses", "Loss of plain text", "nats per token", False, lambda m: losses(m.free_text)),
    Metric("auc_interval", "Bootstrap interval of the membership AUC", "AUC", None, _interval),
    Metric("perfect_forgetting", "Membership of perfect forgetting", "AUC", None, bands),
    Metric("questions", "Answers to four-option questions", "share", True, lambda m: m.utility, field="utility"),
    Metric("fluency", "Language of the answers", "share", None, lambda m: language(m.data, m.generations)),
    Metric("rouge_floors", "ROUGE-L recall by chance", "share", None, lambda m: rouge_floors(m.data)),
    Metric("nll", "Likelihood of right answers", "nats", None, lambda m: likelihoods(m.answers)),
    Metric("beneath_hash", "Hash of the weights beneath an adapter", "hash", None, lambda m: m.beneath_hash),
    Metric("attacks", "Membership attacks on documents", "AUC", None, attacks, extra=True),
    Metric("extraction_strength", "Extraction strength", "share", None, _strength, extra=True),
    Metric("exact_memorisation", "Exact memorisation", "share", None, _exact, extra=True),
    Metric("truth_ratios", "Truth ratios", "ratio", None, lambda m: truth_ratios(m.answers), extra=True),
    Metric("truth_score", "Truth score", "share", True, lambda m: truth_scores(m.answers), extra=True),
    Metric("watched", "Watched answers", "nats", None, lambda m: watched(m.answers), extra=True),
    Metric(
        "preferred", "Right answers preferred", "count", None, lambda m: preferred(m.answers), extra=True, version=2
    ),
    Metric("auc_by_task", "Membership of answers", "AUC", None, lambda m: auc_by_task(m.answers), extra=True),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*_TERMS, *_TOTALS, *DETAILS)}


def measure(measured: Measurements, metrics: Iterable[Metric]) -> dict[str, Any]:
    """The value of each metric, by the field it fills; extra ones only where they were measured."""
    wanted = (metric for metric in metrics if measured.extras or not metric.extra)
    return {metric.field or metric.name: metric.compute(measured) for metric in wanted}


def details_of(measured: Measurements) -> ScoreDetails:
    """Everything beside the terms and totals."""
    return ScoreDetails(**measure(measured, DETAILS))


def schema() -> str:
    """What a score holds, as a digest: metrics with their versions, and the fields of their values."""
    kinds = (Scores, ScoreDetails, Generation, Utility, Fluency, AnswerLikelihood, Preferred, PerfectForgetting)
    held = [[kind.__name__, *(one.name for one in fields(kind))] for kind in kinds]
    facts = [[metric.name, metric.version] for metric in METRICS.values()], held
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
