"""What is measured beside the terms of a benchmark, as typed fields; one field a metric of the registry.

A mapping by split has `SPLITS` and, for language, the rows that enter no term. A stored record of an earlier
version lacks fields that are newer; they are read as not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from unlearn_core.evaluation.metrics.fluency import Fluency
from unlearn_core.evaluation.metrics.membership import Band
from unlearn_core.evaluation.metrics.token_metrics import KolmogorovSmirnov
from unlearn_core.evaluation.metrics.utility import Utility

BySplit = Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class AnswerLikelihood:
    """How likely the gold answers of one split are. `mean`: token NLL (nats); `probability`: of the middle one as
    a whole (see `answer_probability`), and its natural logarithm; `n`: how many were measured."""

    mean: float | None = None
    log_probability: float | None = None
    probability: float | None = None
    n: int = 0


@dataclass(frozen=True, slots=True)
class Preferred:
    """Of `n` right answers, how many (`hits`) are likelier, per token, than every wrong one of their kind;
    `chance` of them (a share) would be where nothing is known."""

    hits: int = 0
    n: int = 0
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class PerfectForgetting:
    """Where the membership AUC and score lie for models that never saw the documents."""

    auc: Band
    score: Band | None = None


_TYPED: Mapping[str, type] = {"utility": Utility, "forget_quality": KolmogorovSmirnov}
_TYPED_BY_SPLIT: Mapping[str, type] = {"fluency": Fluency, "nll": AnswerLikelihood, "preferred": Preferred}


@dataclass(frozen=True)
class ScoreDetails:
    """Everything measured on one model beside the terms; see `metrics.registry` for what each is."""

    missing: Sequence[str] = ()
    paraphrases: BySplit = field(default_factory=dict)
    partial_aggregate: float | None = None
    num_terms: int = 0
    limiting_term: str | None = None
    member_losses: Sequence[float] = ()
    nonmember_losses: Sequence[float] = ()
    free_text_losses: Sequence[float] = ()
    auc_interval: Sequence[float] | None = None
    perfect_forgetting: PerfectForgetting | None = None
    utility: Utility | None = None
    fluency: Mapping[str, Fluency | None] = field(default_factory=dict)
    rouge_floors: Mapping[str, float] = field(default_factory=dict)
    nll: Mapping[str, AnswerLikelihood] = field(default_factory=dict)
    beneath_hash: str = ""
    attacks: BySplit = field(default_factory=dict)  # AUC by attack
    extraction_strength: BySplit = field(default_factory=dict)
    exact_memorisation: BySplit = field(default_factory=dict)
    truth_ratios: Mapping[str, Sequence[float]] = field(default_factory=dict)
    truth_score: BySplit = field(default_factory=dict)
    watched: Mapping[str, float] = field(default_factory=dict)
    preferred: Mapping[str, Preferred] = field(default_factory=dict)
    auc_by_task: BySplit = field(default_factory=dict)
    forget_quality: KolmogorovSmirnov | None = None  # beside the retain model alone

    @classmethod
    def from_json(cls, record: Mapping[str, Any] | None) -> ScoreDetails:
        """The details in a stored record, fields of other versions left out."""
        known = {one.name for one in fields(cls)}
        found = {name: value for name, value in (record or {}).items() if name in known and value is not None}
        for name, kind in _TYPED.items():
            if name in found:
                found[name] = kind(**found[name])
        for name, kind in _TYPED_BY_SPLIT.items():
            if name in found:
                found[name] = {split: v if v is None else kind(**v) for split, v in found[name].items()}
        if "perfect_forgetting" in found:
            bands = {name: Band(**band) for name, band in found["perfect_forgetting"].items()}
            found["perfect_forgetting"] = PerfectForgetting(**bands)
        return cls(**found)
