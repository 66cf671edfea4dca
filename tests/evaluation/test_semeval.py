"""The protocol's metrics: hand-computed values, bounds, and equality with the organisers' libraries."""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from unlearn_core.data.rows.lume import read_id
from unlearn_core.data.sources import load_data
from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import TERM_NAMES

LUME = Path(__file__).resolve().parents[3] / "shared" / "data" / "semeval25"
needs_lume = pytest.mark.skipif(not LUME.is_dir(), reason="LUME is not here")
ROUGE = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=True)
WORDS = st.lists(
    st.sampled_from(["the", "cats", "running", "ran", "caf\u00e9", "nan", "a-b", "\u2603", "9"]), max_size=40
)
LOSSES = st.lists(st.floats(0, 20, allow_nan=False), min_size=1, max_size=12)
SHARE = st.floats(0, 1)


@settings(max_examples=80, deadline=None)
@given(WORDS, WORDS)
def test_rouge_equals_the_library(gold: list[str], text: list[str]) -> None:
    expected = ROUGE.score(" ".join(gold), " ".join(text))["rougeL"].recall
    assert semeval.rouge_l_recall(" ".join(gold), " ".join(text), official=True) == expected


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_scores_of_any_text_are_shares_and_full_for_itself(gold: str, text: str) -> None:
    assert 0 <= semeval.rouge_l_recall(gold, text) <= 1
    expected = ROUGE.score(gold, text)["rougeL"].recall
    assert semeval.rouge_l_recall(gold, text, official=True) == expected
    if (gold + text).isascii():
        assert semeval.rouge_l_recall(gold, text) == expected
    assert semeval.exact_match(gold, gold.upper().lower() if gold.upper().lower() == gold.lower() else gold) == 1.0
    assert semeval.exact_match(gold, text) in (0.0, 1.0)


def test_rouge_by_hand() -> None:
    """gold: the cat sat on the mat (6 words); common in order: the cat on mat = 4."""
    assert semeval.rouge_l_recall("The cat sat on the mat", "the cats, on a mat!") == 4 / 6
    assert semeval.rouge_l_recall("", "x") == semeval.rouge_l_recall("x", "") == 0.0


@pytest.mark.parametrize(
    ("gold", "text", "recall"),
    [
        (
            "\u0443\u0442\u0440\u043e\u043c \u0410\u043d\u043d\u0430 \u0432\u044b\u0448\u043b\u0430 42",
            "\u0410\u043d\u043d\u0430 \u0432\u044b\u0448\u043b\u0430",
            2 / 4,
        ),  # Russian, by words
        (
            "\u039a\u03b1\u03bb\u03b7\u03bc\u03ad\u03c1\u03b1 \u03ba\u03cc\u03c3\u03bc\u03b5",
            "\u03ba\u03cc\u03c3\u03bc\u03b5!",
            1 / 2,
        ),  # Greek
        (
            "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e",
            "\u0928\u092e\u0938\u094d\u0924\u0947",
            1 / 2,
        ),  # Hindi
        ("\u0645\u0631\u062d\u0628\u0627 \u0628\u0643", "\u0628\u0643", 1 / 2),  # Arabic
        ("\uc548\ub155 \ud558\uc138\uc694", "\ud558\uc138\uc694", 1 / 2),  # Korean, by words
        ("\u5c0f\u660e\u4f4f\u5728\u5357\u4eac\u3002", "\u4f4f\u5728\u5317\u4eac", 3 / 6),  # Chinese, by characters
        ("\u0e01\u0e34\u0e19\u0e02\u0e49\u0e32\u0e27", "\u0e01\u0e34\u0e19", 2 / 5),  # Thai, marks with their letters
        ("l'\u00e9l\u00e8ve a dormi", "l'e\u0301le\u0300ve", 2 / 4),  # accents, written in two ways
        ("\uff11\uff12\uff13 \uff21", "123 a", 2 / 2),  # wide digits and letters
        ("\U0001f600 \U0001f389", "\U0001f600", 1 / 2),  # emoji alone
    ],
)
def test_rouge_reads_every_script(gold: str, text: str, recall: float) -> None:
    assert semeval.rouge_l_recall(gold, text) == recall
    assert semeval.rouge_l_recall(gold, gold) == 1.0


def test_the_floor_by_hand() -> None:
    """`a b c d` against `a b x y` shares two of four words, both ways; a task with one text has no floor."""
    rows = [("Task1", "1", "a b c d"), ("Task1", "2", "a b x y"), ("Task2", "3", "alone")]
    assert semeval.rouge_floors(rows) == {"Task1": 0.5}


@needs_lume
def test_the_floor_on_lume_is_that_of_the_protocol() -> None:
    rows = load_data(str(LUME)).forget
    floors = semeval.rouge_floors((r.task, r.document, r.output) for r in rows if r.kind == "completion")
    for task, published in semeval.ROUGE_FLOORS.items():
        assert floors[task] == pytest.approx(published, abs=0.05)


def test_exact_match_ignores_case_and_outer_space_only() -> None:
    assert semeval.exact_match(" 900-12-3456\n", "900-12-3456") == 1.0
    assert semeval.exact_match("Oldport", " oldport ") == 1.0
    assert semeval.exact_match("Oldport", "Oldport.") == 0.0


def test_an_answer_is_the_same_in_every_way_of_writing_its_characters() -> None:
    """What a tokenizer that composes accents gives back of an accent on its own; the organisers' script does not."""
    for gold, text in (
        ("Hu\u00ea\u0301", "Hu\u1ebf"),
        ("\uff11\uff12", "12"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("O'Neil", "o' neil"),
        ("\u5317\u4eac", "\u5317 \u4eac"),
    ):
        assert semeval.text_score("question", gold, text) == 1.0
        assert semeval.text_score("question", gold, text, official=True) == 0.0
    for gold, text in (("12", "1 2"), ("New York", "Newyork"), ("\uc11c \uc6b8", "\uc11c\uc6b8"), ("a", ""), ("", "a")):
        assert semeval.text_score("question", gold, text) == 0.0


@pytest.mark.parametrize(
    ("id", "kind"),
    [("ab-sc1", "completion"), ("ab-qa0", "question"), ('"8f24"sc1', "completion"), ('"x"qa9', "question")],
)
def test_the_type_is_read_from_the_id_without_its_last_character(id: str, kind: str) -> None:
    found = read_id(id)
    assert found is not None
    assert found[0] == kind


@settings(max_examples=50, deadline=None)
@given(st.lists(SHARE, min_size=12, max_size=12), st.randoms())
def test_the_aggregate_is_bounded_symmetric_and_zero_with_any_zero(values: list[float], rng: random.Random) -> None:
    aggregate = semeval.task_aggregate(values)
    assert aggregate is not None
    assert 0 <= aggregate <= 1
    assert min(values) - 1e-12 <= aggregate <= statistics.mean(values) + 1e-12
    shuffled = rng.sample(values, len(values))
    assert semeval.task_aggregate(shuffled) == pytest.approx(aggregate)
    assert semeval.task_aggregate([0.0, *values[1:]]) == 0
    assert semeval.task_aggregate([None, *values[1:]]) is None


def test_terms_follow_the_official_order_and_turn_forget_around() -> None:
    scored = [("forget", "Task1", "completion", 0.25), ("forget", "Task1", "completion", 0.75)]
    scored += [("retain", "Task3", "question", 1.0), ("forget paraphrase", "Task1", "question", 1.0)]
    terms = semeval.terms(scored)
    assert terms["forget/Task1/regurgitation"] == 0.5
    assert terms["forget/Task1/knowledge"] is None
    aggregated = semeval.aggregated(terms)
    assert (aggregated[0], aggregated[1], aggregated[-1]) == (0.5, None, 1.0)
    assert semeval.limiting_term(aggregated) == TERM_NAMES[0]
    assert semeval.partial_aggregate(aggregated) == pytest.approx(2 / 3)


def test_the_final_score_needs_all_three_parts() -> None:
    assert semeval.final_score(0.9, 0.6, 0.3) == pytest.approx(0.6)
    assert semeval.final_score(None, 0.6, 0.3) == semeval.final_score(0.9, 0.6, None) == -1.0


@settings(max_examples=60, deadline=None)
@given(LOSSES, LOSSES)
def test_auc_is_the_share_of_pairs_and_turns_around(members: list[float], others: list[float]) -> None:
    wins = sum((m < n) + 0.5 * (m == n) for m in members for n in others)
    area = membership.auc(members, others)
    assert area == pytest.approx(wins / (len(members) * len(others)))
    assert membership.auc(others, members) == pytest.approx(1 - area)
    assert 0 <= semeval.mia_score(area) <= 1 + 1e-12
    low, high = membership.bootstrap_interval(members, others, 50)
    assert 0 <= low <= high <= 1


@settings(max_examples=60, deadline=None)
@given(LOSSES, st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_auc_equals_scikit_learn_to_the_last_digit(members: list[float], others: list[float]) -> None:
    from sklearn.metrics import auc, roc_curve

    labels = [1] * len(members) + [0] * len(others)
    false, true, _ = roc_curve(labels, -1 * np.array([*members, *others], dtype=float))
    assert membership.auc(members, others) == auc(false, true)
    ours = membership.roc_curve(members, others)
    assert np.array_equal(ours[0], false)
    assert np.array_equal(ours[1], true)


def test_auc_extremes_and_errors() -> None:
    assert membership.auc([1.0, 2.0], [3.0, 4.0]) == 1.0
    assert membership.auc([1.0], []) is None
    assert semeval.mia_score(membership.auc([1.0, 2.0], [1.0, 2.0])) == 1.0
    with pytest.raises(Exception, match="not a number"):
        membership.auc([math.nan], [1.0])


@pytest.mark.parametrize(("count", "expected"), [(150, 0.946), (34, 0.882), (10, 0.786)])
def test_the_perfect_forgetting_band_agrees_with_simulation(count: int, expected: float) -> None:
    bands = membership.perfect_forgetting(count, count)
    assert bands is not None
    assert bands[1].mean == pytest.approx(expected, abs=0.008)
    assert bands[0].low < 0.5 < bands[0].high


def test_wilson_interval_by_hand() -> None:
    """5 of 10: centre .5, half width 1.96 sqrt(.025 + .0096) / 1.384 = .2634."""
    low, high = membership.wilson_interval(5, 10)
    assert (low, high) == (pytest.approx(0.2366, abs=1e-3), pytest.approx(0.7634, abs=1e-3))
    assert membership.wilson_interval(0, 0) is None
