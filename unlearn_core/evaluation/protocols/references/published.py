"""What others reached: the leaderboard's reference lines, and tables of published runs for teaching."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.official import verdict_of_means
from unlearn_core.evaluation.verdict import Verdict


@dataclass(frozen=True, slots=True)
class PublishedEntry:
    """One entry: final score and its parts; None where not published."""

    name: str
    model: str  # 7B | 1B
    final: float
    task_aggregate: float | None = None
    mia_score: float | None = None
    mmlu: float | None = None
    note: str = ""


# SemEval-2025 Task 4 (arXiv 2504.02883) and its teams' papers.
LEADERBOARD = (
    PublishedEntry("SHA256", "7B", 0.711, 0.964, 0.894, 0.275, "below the MMLU cut, unranked"),
    PublishedEntry("AILS-NTUA", "7B", 0.706, 0.827, 0.847, 0.443),
    PublishedEntry("ZJUKLAB", "7B", 0.487, 0.944, 0.048, 0.471),
    PublishedEntry("YNU", "7B", 0.470, 0.834, 0.139, 0.436),
    PublishedEntry("Mr. Snuffleupagus", "7B", 0.376, 0.387, 0.256, 0.485),
    PublishedEntry("Atyaephyra", "7B", 0.273),
    PublishedEntry("Gradient ascent", "7B", 0.394, 0.0, 0.912, 0.269, "baseline"),
    PublishedEntry("KL minimisation", "7B", 0.395, 0.0, 0.916, 0.269, "baseline"),
    PublishedEntry("Gradient difference", "7B", 0.243, 0.0, 0.382, 0.348, "baseline"),
    PublishedEntry("NPO", "7B", 0.188, 0.021, 0.080, 0.463, "baseline"),
    PublishedEntry("Doing nothing", "7B", 0.165, 0.0, note="what the untouched model scores"),
    PublishedEntry("AILS-NTUA", "1B", 0.688, 0.964, 0.857, 0.242),
    PublishedEntry("SHA256", "1B", 0.652, 0.973, 0.741, 0.243),
    PublishedEntry("Atyaephyra", "1B", 0.586, 0.887, 0.622, 0.248),
    PublishedEntry("Doing nothing", "1B", 0.08, 0.0, note="what the untouched model scores"),
)
WIPED = (0.35, 0.42)  # what wiping the model scores, whatever the model


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """One run of a published table, with our verdict beside its official score."""

    name: str
    final: float
    task_aggregate: float
    mia_auc: float
    mia_score: float
    mmlu: float
    forget: tuple[float, float]  # overall regurgitation, knowledge
    retain: tuple[float, float]
    verdict: Verdict
    metrics_mmlu: float | None = None  # what the run's own MMLU file says

    @property
    def collapsed(self) -> bool:
        return self.verdict.word == "collapsed"

    @property
    def retained(self) -> float:
        """How much of the retain set is left: the mean of reciting and answering, 0..1."""
        return sum(self.retain) / 2

    @property
    def foreign_mmlu(self) -> bool:
        """Whether the MMLU that was counted is not the one this run's own file holds."""
        return self.metrics_mmlu is not None and abs(self.metrics_mmlu - self.mmlu) > 1e-6


PUBLISHED = Path("published") / "runs.csv"  # inside the assets; SOURCE.md beside it names where it is from


def read_runs(path: Path) -> list[PublishedRun]:
    """The runs of a table with columns run, agg, ta, mia_auc, mia, mmlu, f_reg, f_kn, r_reg, r_kn (and mm, where
    known); best official score first."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            runs = [_run(record) for record in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError("runs", path.name, f"is not a table of runs ({error})", "Check its columns.") from error
    return sorted(runs, key=lambda run: -run.final)


def _run(record: dict[str, str]) -> PublishedRun:
    value = {name: float(text) for name, text in record.items() if name != "run"}
    forget, retain = (value["f_reg"], value["f_kn"]), (value["r_reg"], value["r_kn"])
    return PublishedRun(
        name=record["run"],
        final=value["agg"],
        task_aggregate=value["ta"],
        mia_auc=value["mia_auc"],
        mia_score=value["mia"],
        mmlu=value["mmlu"],
        forget=forget,
        retain=retain,
        verdict=verdict_of_means(forget, retain, value["mia_auc"], value["mmlu"]),
        metrics_mmlu=value.get("mm"),
    )
