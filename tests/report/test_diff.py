"""Words that an answer shares with the gold answer, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from unlearn_core.report.kit.diff import compare


def marked(gold: str, output: str) -> list[str]:
    return [piece.text for piece in compare(gold, output) if piece.matches]


def test_a_recited_text_is_one_stretch() -> None:
    assert marked("She was born in Oldport.", "she was born in Oldport.") == ["she was born in Oldport"]


def test_only_the_longest_common_run_in_order_is_marked() -> None:
    """Gold a b c d; the answer c a b x d shares a b .. d, because c comes too early."""
    assert marked("a b c d", "c a b x d") == ["a b", "d"]


def test_numbers_match_as_words_with_their_separators() -> None:
    assert marked("900-41-7788", "It is 900-41-7788!") == ["900-41-7788"]


def test_nothing_shared_marks_nothing() -> None:
    assert marked("alpha", "beta gamma") == []
    assert compare("alpha", "") == ()


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_pieces_join_to_the_answer(gold: str, output: str) -> None:
    assert "".join(piece.text for piece in compare(gold, output)) == output
