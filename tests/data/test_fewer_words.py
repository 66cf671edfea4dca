"""Questions with fewer words: what stays, and what does not depend on chance."""

from __future__ import annotations

from unlearn_core.data.types import Example
from unlearn_core.training.data import fewer_words

ROW = Example("qa", "What is the birth date of Ada Bell?", "1962-08-28", "Task2", kind="question", subject="Ada Bell")


def test_the_name_the_order_and_the_answer_stay() -> None:
    words = ROW.input.split()
    found = fewer_words(ROW, 8, seed=0)
    assert len({row.input for row in found}) == len({row.id for row in found}) == len(found) == 8
    for row in found:
        left = row.input.split()
        assert left[-2:] == ["Ada", "Bell?"]
        places = [words.index(word) for word in left]
        assert places == sorted(places)
        assert len(left) < len(words)
        assert (row.output, row.subject) == (ROW.output, ROW.subject)


def test_a_seed_gives_the_same_questions_and_another_seed_others() -> None:
    assert fewer_words(ROW, 6, seed=1) == fewer_words(ROW, 6, seed=1)
    assert fewer_words(ROW, 6, seed=1) != fewer_words(ROW, 6, seed=2)


def test_what_has_no_fewer_words_brings_none() -> None:
    assert fewer_words(Example("c", "Ada Bell was born", "in 1962.", "Task2", kind="completion"), 8, seed=0) == []
    assert fewer_words(Example("q", "Who?", "Ada", "Task2", kind="question"), 8, seed=0) == []
    assert fewer_words(Example("q", "word " * 61, "Ada", "Task2", kind="question"), 8, seed=0) == []
    short = Example("q", "Who is Ada?", "a baker", "Task2", kind="question")
    assert {row.input for row in fewer_words(short, 8, seed=0)} <= {
        "Who is",
        "Who Ada?",
        "is Ada?",
        "Who",
        "is",
        "Ada?",
    }
