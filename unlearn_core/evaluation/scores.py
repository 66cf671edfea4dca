"""The result of scoring one model, as data: what every screen, table and file is drawn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from unlearn_core.data.types import TASKS

SPLITS = ("forget", "retain")
METRICS = ("regurgitation", "knowledge")
# The official order: forget T1 reg, T1 know, T2 reg, ... then retain the same.
TERM_NAMES = tuple(f"{split}/{task}/{metric}" for split in SPLITS for task in TASKS for metric in METRICS)


@dataclass(frozen=True, slots=True)
class Generation:
    """One prompt of the forget or retain set, what the model wrote, and its score.

    `score` is ROUGE-L recall (0..1) for completions and 0 or 1 (exact match) for questions.
    """

    id: str
    split: str  # forget | retain | forget paraphrase | retain paraphrase | general
    task: str
    kind: str  # completion | question
    input: str
    gold: str
    output: str
    score: float


@dataclass(frozen=True)
class Scores:
    """Scores of one model on one data set, bound to the hash of the weights they were computed from.

    `terms` are the plain metric means (a forget term of 1.0 means nothing was forgotten), None where the
    data has no such rows; `aggregated_terms` are the official twelve, forget terms turned into 1 - v.
    `task_aggregate` is their harmonic mean, 0 when any is 0, None when any is missing. `mia_score` =
    1 - 2 |AUC - 0.5|. `utility` is accuracy on four-option questions. `final_score` is the mean of the
    three parts, -1 where a part is missing (the official rule).
    """

    terms: dict[str, float | None]
    aggregated_terms: list[float | None]
    task_aggregate: float | None
    mia_auc: float | None
    mia_score: float | None
    utility: float | None
    final_score: float
    weights_hash: str
    data_fingerprint: str = ""
    details: dict[str, Any] = field(default_factory=dict)  # unseen phrasings, intervals, histograms, losses
    generations: tuple[Generation, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    def to_json(self, *, generations: bool = False) -> dict[str, Any]:
        """A JSON-ready mapping; the generations are many, so they are left out unless asked for."""
        record = asdict(self)
        if not generations:
            del record["generations"]
        return record

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Scores:
        fields = dict(record)
        fields["generations"] = tuple(Generation(**row) for row in fields.get("generations", ()))
        return cls(**fields)


@dataclass(frozen=True)
class Verdict:
    """The judgement beside the score. `label`: unchanged, under-forgotten, forgotten, over-forgotten,
    collapsed. `reasons` name the figures that led there; `limiting_term` the lowest of the twelve."""

    label: str
    summary: str
    reasons: tuple[str, ...] = ()
    limiting_term: str | None = None
    would_be_ranked: bool | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
