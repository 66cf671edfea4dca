"""Detectability: can somebody who has both models tell which one was unlearned?"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.subset import even_sample
from unlearn_core.data.types import Example
from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Finding, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import PROBE_MARGIN, PROBE_SIGMAS, interval
from unlearn_core.evaluation.metrics.membership import auc, chance_spread
from unlearn_core.models.inference.likelihood import TokenTrace, traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_NUM_SPLITS = 5  # of the documents into two halves: of one alone the figure would be mostly chance


@dataclass(frozen=True)
class Detectability(Audit):
    """Logistic regression on how each model takes the answer's tokens: mean and extreme log-probability, and how
    far that is from what it expects of itself. Learned on half of the documents, tried on the other half.

    Any two models differ, also two that never knew a thing; so what counts is how much better they are told apart
    by forgotten rows than by never-trained ones.
    """

    max_rows: int = 120

    info: ClassVar[AuditInfo] = AuditInfo(
        name="detectability",
        title="Told which was unlearned",
        idea="A classifier sees how two models take the same answers, and is to say which of them was unlearned; "
        "the other is the retain-only model. What forgotten rows give away and never-trained ones do not is the "
        "mark that unlearning left.",
        source="Chen et al., unlearning traces (arXiv 2506.14003)",
        needs=frozenset({"retain_only", "controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        return 2 * 2 * 1.5 * case.reading(min(self.max_rows, 2 * len(case.forget)))

    def work(self, case: AuditCase) -> Work:
        assert case.retain_only is not None
        areas: dict[str, float] = {}
        spreads: dict[str, float] = {}
        for name, rows in (("forget", case.data.forget), ("holdout", case.controls)):
            kept = even_sample(case.questions(rows), self.max_rows)
            pair = []
            for model in (case.model, case.retain_only):
                pair.append((yield from _features(case, model, kept)))
            subjects = [row.document_id for row in kept]
            areas[name], spreads[name] = _told_apart(pair, subjects, case.seed)
        gap = areas["forget"] - areas["holdout"]
        spread = float(np.hypot(spreads["forget"], spreads["holdout"]))
        beyond = interval(gap, spread)
        leaks = gap > max(PROBE_MARGIN, PROBE_SIGMAS * spread)
        headline = (
            f"By its forgotten rows a classifier tells the unlearned model from the retain-only one with AUC "
            f"{areas['forget']:.2f}, by {case.control_title} with {areas['holdout']:.2f} (0.50 is chance; difference "
            f"{gap:+.2f}, {beyond['beyond_low']:+.2f} to {beyond['beyond_high']:+.2f})."
        )
        figures = {"forget": areas["forget"], "holdout": areas["holdout"], **beyond}
        rows_told: tuple[AuditRow, ...] = tuple(
            {"rows": name, "auc": round(area, 4), "spread": round(spreads[name], 4)} for name, area in areas.items()
        )
        return Finding(leaks, headline, figures, rows_told)


def _features(case: AuditCase, model: PreTrainedModel, rows: Sequence[Example]) -> Generator[float, None, np.ndarray]:
    """What is seen of each row (rows, features)."""
    encoded = [encode_example(case.tokenizer, row, i) for i, row in enumerate(rows)]
    found = np.zeros((len(rows), _NUM_FEATURES))
    for batch in traces(model, encoded, pad_id_of(case.tokenizer), moments=True):
        for trace in batch:
            found[trace.index] = _seen(trace)
        yield 1.5 * sum(len(trace.log_prob_T) for trace in batch)
    return found


_NUM_FEATURES = 6


def _seen(trace: TokenTrace) -> tuple[float, ...]:
    """Log-probability of the answer's tokens and how surprising that is to the model itself (min-k++)."""
    log_prob, expected = trace.log_prob_T.astype(float), trace.mean_T.astype(float)
    standard = (log_prob - trace.mean_T) / np.maximum(trace.std_T, 1e-6)
    return log_prob.mean(), log_prob.min(), log_prob[0], standard.mean(), standard.min(), expected.mean()


def _told_apart(pair: Sequence[np.ndarray], subjects: Sequence[str], seed: int) -> tuple[float, float]:
    """AUC over documents that the classifier had not seen, and how much of it is chance."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    names, owner = list(dict.fromkeys(subjects)), np.array(subjects)
    drawn = np.random.default_rng(seed)
    found = []
    for _ in range(_NUM_SPLITS):
        taught = np.isin(owner, drawn.permutation(names)[: len(names) // 2])
        for learn in (taught, ~taught):
            x = np.concatenate([features[learn] for features in pair])
            y = np.repeat([1, 0], learn.sum())
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=200)).fit(x, y)
            sides = []
            for features in pair:
                score = probe.decision_function(features[~learn])
                own = owner[~learn]
                sides.append([-float(score[own == name].mean()) for name in dict.fromkeys(own)])
            found.append(auc(*sides) or 0.5)
    return float(np.mean(found)), chance_spread(len(names), len(names))
