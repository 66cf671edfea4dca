"""What a run will take, in people's words."""

from __future__ import annotations

import pytest

from unlearn_core.errors import InputError
from unlearn_core.runs.planning.costs import in_words, times
from unlearn_core.system.units import duration


@pytest.mark.parametrize(
    ("factor", "words"),
    [(0.1, "less than half"), (0.5, "half"), (1.0, "as much as"), (5.05, "5 times"), (123.0, "120 times")],
)
def test_a_factor_is_said_as_people_say_it(factor: float, words: str) -> None:
    assert times(factor) == words


def test_a_large_factor_and_a_long_time_are_no_formulas() -> None:
    assert times(1.19e7) == "12 million times"
    assert duration(101.7 * 3600) == "4 days 5 h"
    cost = {"seconds": 25.0, "memory": 1.1e9, "flops": 1e12, "retraining_flops": 5e12, "device": "this CPU"}
    first, second = in_words(cost).split(". ")
    assert first == "About 25 s and 1.1 GB of memory on this CPU"
    assert second == "Training it again without the data is about 5 times the work."


def test_an_error_reads_as_a_sentence_on_the_page() -> None:
    error = InputError("learning_rate", 7, "is out of range", "Use 0 to 1.")
    assert error.sentence == "Learning rate 7 is out of range. Use 0 to 1."
    assert str(error) == "learning_rate (7): is out of range. Use 0 to 1."
