"""A story as a run tells it: events made by hand, with numbers that are easy to follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import TERM_NAMES, Generation, Scores
from unlearn_core.evaluation.verdict import Layer, Verdict
from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState

STAGES = ("load", "score original", "unlearn", "score unlearned")
Maker = Callable[..., Scores]


@pytest.fixture
def make_scores() -> Maker:
    """Scores with every forget term at `forget` and every retain term at `retain`, one answer each."""

    def make(forget: float, retain: float, output: str = "Oldport", **changes: Any) -> Scores:
        terms = {name: forget if name.startswith("forget") else retain for name in TERM_NAMES}
        counted = [1 - value if name.startswith("forget") else value for name, value in terms.items()]
        rows = tuple(
            Generation(f"{split}1qa0", split, "Task2", "question", "Where?", "Oldport", output, value)
            for split, value in (("forget", forget), ("retain", retain))
        )
        fields = {
            "terms": terms,
            "aggregated_terms": counted,
            "task_aggregate": min(counted),
            "mia_auc": 0.6,
            "mia_score": 0.8,
            "utility": 0.7,
            "final_score": 0.5,
            "weights_hash": "w",
            "generations": rows,
        }
        changes["details"] = ScoreDetails.from_json(changes.get("details"))
        return Scores(**{**fields, **changes})

    return make


@pytest.fixture
def story(make_scores: Maker) -> RunState:
    """A finished run of three steps."""
    told = RunState()
    told.add(ev.RunStarted({"target": "demo", "data": "demo", "method": "npo"}, STAGES, 3, "cpu"))
    original = make_scores(1.0, 1.0, details={"nonmember_losses": [2.0, 4.0]})
    told.add(ev.Score("original", original.to_json(generations=True)))
    for step in range(4):
        told.add(ev.FactProbe(step, (fact("a", 1 - 0.3 * step, "forget"), fact("b", 0.9, "retain"))))
        if step:
            losses = {"forget": float(step), "retain": 0.1, "total": -float(step)}
            told.add(ev.Step(step, 3, losses, 1e-3, 1.0, 900.0, 1.0 * step, 3.0 - step))
    told.add(ev.StageProgress("unlearn", 3, 3))
    told.add(ev.Score("unlearned", make_scores(0.0, 0.9, "somewhere").to_json(generations=True)))
    layers = (Layer("answers", "holds", 0.05, 0.01, 0.2, 20, 0.0, 1.0), Layer("attacks"))
    verdict = Verdict("Answers gone; not attacked yet", "answers gone", "Others were kept.", layers, ("because",))
    told.add(ev.Finished(verdict.to_json(), {"load": 1.0, "unlearn": 2.5}))
    return told


def fact(name: str, probability: float, split: str) -> ev.WatchedFact:
    return ev.WatchedFact(name, f"Where is <{name}>?", "Oldport", probability, split, probability)
