"""The result of scoring one model, as data: what every screen, table and file is drawn from."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from unlearn_core.data.types import TASKS, Example
from unlearn_core.evaluation.protocols.base import Result
from unlearn_core.evaluation.protocols.terms.row_log import RowLog, parse_log
from unlearn_core.evaluation.score_details import ScoreDetails

SPLITS = ("forget", "retain")
PARAPHRASE = " paraphrase"  # what is added to the split of a row asked in a phrasing that the data brings,
WORDING = " wording"  # and to that of one in a phrasing made here
NEIGHBOURS, GENERAL = "neighbours", "general"  # rows that enter no term
ANSWER_SCORES = ("regurgitation", "knowledge")  # of completions and of questions
# The official order: forget T1 reg, T1 know, T2 reg, ... then retain the same.
TERM_NAMES = tuple(f"{split}/{task}/{metric}" for split in SPLITS for task in TASKS for metric in ANSWER_SCORES)
ScoresJson = dict[str, Any]  # what `Scores.to_json` writes, or a part of it


@dataclass(frozen=True, slots=True)
class Generation:
    """One prompt of the forget or retain set, what the model wrote, and its score.

    `score` is ROUGE-L recall (0..1) for completions and 0 or 1 (exact match) for questions.
    """

    id: str
    split: str  # forget, retain, either with PARAPHRASE or WORDING, NEIGHBOURS, GENERAL
    task: str
    kind: str  # completion | question
    input: str
    gold: str
    output: str
    score: float
    subject: str = ""  # whom or what the row is about, where the data says
    document: str = ""  # rows of one document share it
    topic: str = ""  # rows of one topic have answers of one sort
    aliases: tuple[str, ...] = ()  # the right answer in other words
    cut: bool = False  # whether the token limit ended it

    @classmethod
    def of(cls, row: Example, split: str, output: str, score: float, *, cut: bool = False) -> Generation:
        """What was written to `row`."""
        asked = (row.id, split, row.task, row.kind, row.input, row.output)
        return cls(*asked, output, score, row.subject, row.document, row.topic, row.paraphrases, cut)

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells a prompt from every other: split, id and prompt."""
        return self.split, self.id, self.input


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
    prompt: str = ""  # digest of the prompt format, "" for raw
    details: ScoreDetails = field(default_factory=ScoreDetails)
    generations: tuple[Generation, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    benchmark: Result | None = None  # the terms of another benchmark than SemEval's, where the data is one's
    rows: RowLog | None = field(default=None, compare=False)  # the per-row values behind them

    def to_json(self, *, generations: bool = False, rows: bool = False) -> ScoresJson:
        """A JSON-ready mapping; generations and the rows behind a benchmark are many, so they are left out
        unless asked for."""
        record = asdict(replace(self, benchmark=None, rows=None))
        del record["rows"]
        if self.benchmark is None:
            del record["benchmark"]
        else:
            record["benchmark"] = replace(self.benchmark, rows=None).to_json()
        if rows and self.rows is not None:
            record["rows"] = self.rows.to_json()
        if not generations:
            del record["generations"]
        return record

    @classmethod
    def from_json(cls, record: ScoresJson) -> Scores:
        fields = dict(record)
        fields["details"] = ScoreDetails.from_json(fields.get("details"))
        rows = fields.get("generations", ())
        fields["generations"] = tuple(Generation(**{**row, "aliases": tuple(row.get("aliases", ()))}) for row in rows)
        if fields.get("benchmark") is not None:
            fields["benchmark"] = Result.from_json(fields["benchmark"])
        if fields.get("rows") is not None:
            fields["rows"] = parse_log(fields["rows"])
        return cls(**fields)
