"""Many runs on one page: the table of all, a few beside each other, and a sweep under way."""

from __future__ import annotations

from dataclasses import asdict, replace

from golden_page import assert_golden

from unlearn_core.evaluation.scores import TERM_NAMES
from unlearn_core.jobs.sweep import SweepState
from unlearn_core.report.runs.comparison import comparison
from unlearn_core.report.runs.runs_table import page_line, runs_table, sweep_panel
from unlearn_core.report.runs.settings_table import settings_table
from unlearn_core.report.runs.tradeoff import tradeoff_table
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunRecord
from unlearn_core.store.table.compare import ComparedRun
from unlearn_core.store.table.rows import RunRow

DAY = 86_400.0


def _run(name: str, seed: int, final: float) -> RunRecord:
    spec = RunSpec(method=name, seed=seed, settings={"steps": 20}).to_json()
    scores = {
        "final_score": final,
        "aggregated_terms": [final] * len(TERM_NAMES),
        "terms": {term: 1 - final if term.startswith("forget") else final for term in TERM_NAMES},
    }
    verdict = {"label": "forgotten", "word": "answers gone", "headline": "Answers gone", "layers": []}
    record = RunRecord(f"{name}-{seed}-0000000001", spec, "finished", 0.0, verdict=verdict, seconds={"unlearn": 3.0})
    return replace(record, scores={"unlearned": scores})


def test_the_words_of_runs_beside_each_other() -> None:
    records = [_run("npo", 0, 0.5), _run("npo", 1, 0.6), _run("lethe", 0, 0.9), _run("lethe", 1, 0.91)]
    rows = [RunRow.of(asdict(record), {"tags": ["<i>night"]}) for record in records]
    runs = [ComparedRun(records[0], rows[0], tuple(rows[:2])), ComparedRun(records[2], rows[2], tuple(rows[2:]))]
    sweep = SweepState("night", (replace(rows[0], status="running"), *rows[1:]), 3.0)
    assert_golden("runs", runs_table(rows, now=DAY), page_line(0, 4, 4), sweep_panel(sweep))
    assert_golden("comparison", comparison(runs), tradeoff_table(rows, []), settings_table(rows))
