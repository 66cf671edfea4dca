"""The leakage card as a function of what audits came to."""

from __future__ import annotations

import pytest
from golden_page import assert_golden

from unlearn_core.report.run.leakage import audits_progress, leakage_card
from unlearn_core.runs.audit_record import AuditRecord

TITLES = {"relearning": "Relearning", "probes": "Probe", "suffix": "Suffix"}
LEAK = {
    "name": "relearning",
    "verdict": "leaks",
    "headline": "<b>31 %</b>",
    "seconds": 3.0,
    "figures": {"forget": 0.31, "holdout": 0.02, "retain_only": 0.05},
    "rows": [{"said": "<i>x</i>"}],
}
NONE = {"name": "probes", "verdict": "not applicable", "headline": "No rows.", "figures": {}, "rows": []}


def test_a_row_shows_figure_and_the_higher_control_and_escapes_what_was_said() -> None:
    assert_golden("attacks", leakage_card([LEAK, NONE], TITLES, {"suffix": "Too long."}))


def test_an_auc_near_zero_has_a_long_bar_and_says_of_what_it_is() -> None:
    row = {**LEAK, "name": "membership", "figures": {"forget": 1.0, "holdout": 0.2, "auc": 0.0}}
    card = leakage_card([row], TITLES)
    assert "width:100.0%" in card
    assert "how far the AUC is from 0.50, doubled" in card
    assert "the AUC" not in leakage_card([LEAK], TITLES)


def test_nothing_to_show_is_nothing() -> None:
    assert leakage_card([], TITLES) == ""
    assert "Nothing leaks" in leakage_card([{**LEAK, "verdict": "holds"}], TITLES)


@pytest.mark.parametrize(
    ("seconds", "budget", "told"),
    [
        (119.0, 90.0, "after 1 min 59 s: by estimate these attacks fit into 1 min 30 s"),
        (80.0, 90.0, "after 1 min 20 s"),
    ],
)
def test_attacks_that_took_longer_than_their_budget_say_what_it_was(seconds: float, budget: float, told: str) -> None:
    record = AuditRecord(status="finished", planned={"probes": 10.0}, seconds=seconds, budget_seconds=budget)
    assert f">{told}<" in audits_progress(record, TITLES)


def test_progress_weighs_audits_by_their_estimates() -> None:
    record = AuditRecord(
        status="running",
        planned={"relearning": 30.0, "probes": 10.0},
        done=("relearning",),
        at="probes",
        fraction=0.5,
        seconds_left=5.0,
    )
    shown = audits_progress(record, TITLES)
    assert 'aria-valuenow="88"' in shown
    assert "5.0 s left" in shown
    assert 'aria-current="step"' in shown
