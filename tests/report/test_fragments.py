"""Verdict, breakdown and side by side: what they say, and that they say it safely."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from golden_page import assert_golden

from unlearn_core.evaluation.protocols.semeval import listed
from unlearn_core.evaluation.scores import Generation, Scores
from unlearn_core.report.run.answers.sidebyside import answer_text, items, splits
from unlearn_core.report.run.breakdown import breakdown
from unlearn_core.report.run.caveats import beside
from unlearn_core.report.run.verdict import banner, score_tiles, summary
from unlearn_core.runs import events as ev
from unlearn_core.runs.state import RunState

HOSTILE = "<script>window.__xss=1</script>{{x}}${y}"


def test_a_good_verdict_has_a_good_tone(story: RunState) -> None:
    assert "le-tone-good" in summary(story)


def test_a_failure_is_told_in_its_own_words_and_escaped(story: RunState) -> None:
    story.add(ev.Failed(f"it broke: {HOSTILE}"))
    shown = banner(story)
    assert "could not finish" in shown
    assert "<script>" not in shown
    assert "{{" not in shown


@pytest.mark.parametrize("kind", ["interrupted", "disk_full", "out_of_memory", "diverged"])
def test_each_fault_says_what_happened_what_is_safe_and_what_to_do(kind: str) -> None:
    told = RunState()
    told.add(ev.Failed("Its own words.", kind))
    shown = banner(told)
    assert "could not finish" not in shown
    assert shown.index("Its own words.") < shown.index("Safe:") < shown.index("Next:")


def test_a_stopped_run_has_no_verdict() -> None:
    told = RunState()
    told.add(ev.Cancelled(7))
    assert "Stopped after step 7" in banner(told)


def test_an_unfinished_run_shows_no_banner() -> None:
    assert summary(RunState()) == ""


def test_a_missing_part_is_not_a_number(make_scores: Callable[..., Scores]) -> None:
    row = make_scores(0.0, 1.0, final_score=-1.0, mia_score=None, mia_auc=None)
    shown = score_tiles({"unlearned": row})
    assert "-1" not in shown
    assert shown.count("n/a: needs ") == 2
    assert shown.count("le-value") == shown.count("misleading?") == 2


def test_the_limiting_term_is_the_lowest(make_scores: Callable[..., Scores]) -> None:
    """Eleven terms at 1 and one at 0.5: the harmonic mean of the others is 1."""
    row = make_scores(0.0, 1.0)
    row = replace(row, terms={**row.terms, "retain/Task3/knowledge": 0.5})
    result = listed(row)
    assert (limit := result.limiting()) is not None
    assert limit.name == "retain/Task3/knowledge"
    assert result.without_limit() == 1.0
    shown = breakdown({"unlearned": row})
    assert "biographies, answering on the retain set" in shown
    assert shown.count("limits the score") == 1


def test_nothing_limits_a_perfect_score(make_scores: Callable[..., Scores]) -> None:
    assert listed(make_scores(0.0, 1.0)).limiting() is None
    assert "No term limits it" in breakdown({"unlearned": make_scores(0.0, 1.0)})


def test_missing_terms_are_shown_as_missing(make_scores: Callable[..., Scores]) -> None:
    row = replace(make_scores(0.0, 1.0), terms={}, task_aggregate=None)
    assert listed(row).limiting() is None
    shown = breakdown({"unlearned": row})
    assert "Task aggregate n/a: needs rows for all 12 terms; this run has rows for 0." in shown
    assert "limit" not in shown


def answered(name: str, split: str, score: float, output: str = "x") -> Generation:
    return Generation(name, split, "Task1", "question", f"ask {name}", "Oldport", output, score)


def test_the_worst_comes_first_for_either_set(make_scores: Callable[..., Scores]) -> None:
    rows = (
        answered("a", "forget", 0.0),
        answered("b", "forget", 1.0),
        answered("c", "retain", 1.0),
        answered("d", "retain", 0.0),
    )
    scores = {"unlearned": replace(make_scores(0, 1), generations=rows)}
    assert [item.row.id for item in items(scores, "forget")] == ["b", "a"]
    assert [item.row.id for item in items(scores, "retain")] == ["d", "c"]
    assert [item.row.id for item in items(scores, "forget", "Best first")] == ["a", "b"]
    assert [item.row.id for item in items(scores, "retain", "As listed")] == ["c", "d"]
    assert splits(scores) == ["forget", "retain"]


def test_a_hostile_answer_stays_text() -> None:
    shown = answer_text("Oldport", HOSTILE, True)
    assert "<script>" not in shown
    assert "${" not in shown


def test_an_empty_answer_says_so() -> None:
    assert "(empty answer)" in answer_text("Oldport", " \n", True)


def test_what_the_numbers_hide_stands_under_them(make_scores: Callable[..., Scores]) -> None:
    details = {
        "member_losses": [1.0] * 30,
        "nonmember_losses": [2.0] * 30,
        "auc_interval": [0.5, 0.7],
        "perfect_forgetting": {"auc": {"mean": 0.5, "low": 0.35, "high": 0.65}},
    }
    rows = {"original": make_scores(1.0, 1.0), "unlearned": make_scores(0.0, 0.9, details=details)}
    shown = beside(rows)
    assert_golden("caveats", shown)
    assert "left:35.0%;width:30.0%" in shown
    assert beside({"original": rows["original"]}) == ""
