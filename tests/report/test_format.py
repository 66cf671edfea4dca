"""Numbers as people read them, and never kinder than they are."""

from __future__ import annotations

import math

import pytest

from unlearn_core.report.kit import format as fm
from unlearn_core.system.units import duration


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "n/a"),
        (math.nan, "n/a"),
        (0.0, "0.00"),
        (1.0, "1.00"),
        (0.9999, "0.99"),
        (0.001, "<0.01"),
        (0.5, "0.50"),
    ],
)
def test_a_score_is_never_rounded_to_perfect(value: float | None, shown: str) -> None:
    assert fm.score(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "n/a"),
        (0.44, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.004, "<1%"), (0.996, "99%"), (1.0, "100%"), (None, "n/a")])
def test_percentages(value: float | None, shown: str) -> None:
    assert fm.percent(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.97, "97%"), (0.031, "3.1%"), (0.005, "1 in 200"), (9e-13, "1 in 10^12"), (5e-324, "1 in 10^323"), (0.0, "0%")],
)
def test_probabilities_of_any_size(value: float, shown: str) -> None:
    assert fm.likely(value) == shown


def test_counts_and_names() -> None:
    assert fm.count(1, "row") == "1 row"
    assert fm.count(1200, "row") == "1,200 rows"


def test_shortening_cuts_at_a_word() -> None:
    assert fm.shorten("one two three four", 14) == "one two..."
    assert fm.shorten("one\n two", 14) == "one two"
    assert len(fm.shorten("x" * 50, 20)) == 20
