"""The leaderboard of a real model: figures as they were measured, failures said."""

from __future__ import annotations

from golden_page import assert_golden

from unlearn_core.report.runs.subject_boards import REAL_KIND, real_source, real_table


def test_the_table_has_every_method_with_its_figures_or_why_it_has_none() -> None:
    names = ("trained", "unseen", "named", "neighbours", "general")
    figures = {name: {"mean": place / 8, "spread": 0.0} for place, name in enumerate(names)}
    board = {
        "kind": REAL_KIND,
        "made": "2026-01-01",
        "target": "smollm2",
        "versions": {"torch": "2"},
        "weights": {"original": "ab" * 32},
        "subjects": ["Paris", "Zeus"],
        "steps": [12, 30],
        "bar": {"trained": 0.05, "neighbours": 0.95, "general": 0.01},
        "methods": [
            {"method": "npo", "num_runs": 2, "num_met": 1, "figures": figures},
            {"method": "eul", "num_runs": 0, "figures": {}, "failure": "finds nothing <to> train"},
        ],
    }
    assert_golden("real_model", real_source(board), real_table(board))
