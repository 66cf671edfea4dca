"""Properties of every metric: bounds, order, and texts that look like nothing or like something else."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unlearn_core.data.types import Question
from unlearn_core.evaluation.metrics import membership, token_metrics
from unlearn_core.evaluation.metrics.fluency import fluency, repetition, vocabulary
from unlearn_core.evaluation.metrics.utility import Utility, utility
from unlearn_core.evaluation.protocols import official, semeval
from unlearn_core.evaluation.scores import ANSWER_SCORES, SPLITS, TERM_NAMES, Generation
from unlearn_core.models.inference.answer_probability import per_token

ODD = st.sampled_from(
    ["", " ", "nan", "None", "NA", "null", "-", "\u2603", "caf\u00e9", 'a "b" c', "a,b\nc", "'", "\ufeffx"]
)
# What a CSV file can carry: no lone surrogates, no NUL, and no bare carriage return, which readers fold.
TEXT = ODD | st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), max_size=25)
IDS = st.sampled_from(['"8f"', "x", "a b", "\u00fc"]).flatmap(
    lambda stem: st.sampled_from(["sc1", "qa0", "qa4"]).map(lambda end: stem + end)
)
ROWS = st.lists(
    st.tuples(IDS, st.sampled_from(SPLITS), st.sampled_from(["Task1", "Task2", "Task3"]), TEXT, TEXT),
    min_size=1,
    max_size=14,
)
FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def scored(rows: list[Any]) -> list[tuple[str, str, str, float]]:
    found = []
    for name, split, task, gold, text in rows:
        kind = "completion" if name[:-1].endswith("sc") else "question"
        found.append((split, task, kind, semeval.text_score(kind, gold, text)))
    return found


@FEW
@given(ROWS, st.randoms())
def test_terms_are_shares_and_the_order_of_rows_does_not_matter(rows: list[Any], rng: random.Random) -> None:
    terms = semeval.terms(scored(rows))
    assert set(terms) == set(TERM_NAMES)
    assert all(value is None or 0 <= value <= 1 for value in terms.values())
    again = semeval.terms(scored(rng.sample(rows, len(rows))))
    for name, value in terms.items():
        assert again[name] == (None if value is None else pytest.approx(value))
    partial = semeval.partial_aggregate(semeval.aggregated(terms))
    assert partial is not None
    assert 0 <= partial <= 1


@FEW
@given(TEXT, TEXT, TEXT)
def test_adding_text_never_lowers_recall_and_never_makes_an_exact_match(gold: str, text: str, more: str) -> None:
    longer = f"{text} {more}"
    assert semeval.rouge_l_recall(gold, longer) >= semeval.rouge_l_recall(gold, text)
    if gold.strip() and more.strip():
        assert semeval.exact_match(gold, f"{gold} {more}") == 0.0


@FEW
@given(rows=ROWS)
def test_what_is_written_is_what_is_scored_again(rows: list[Any], tmp_path: Any) -> None:
    """Through the CSV files and back: ids, texts and terms survive, but for what pandas takes for missing."""
    kept = {split: [row for row in rows if row[1] == split] for split in SPLITS}
    for split, mine in kept.items():
        generations = [Generation(n, split, t, "", "in", gold, text, 0.0) for n, _, t, gold, text in mine]
        official.write_generations(tmp_path, split, generations, [0.5] * len(mine))
    read = official.read_generations(tmp_path)
    assert len(read) == len(rows)
    for row, (name, split, task, gold, text) in zip(read, kept["forget"] + kept["retain"], strict=True):
        assert (row.id, row.split, row.task) == (name, split, task)
        for found, written in ((row.gold, gold), (row.output, text)):
            assert found == written or found == "nan" or float(found) == float(written)
    result = official.official_result(read)
    for value in result["aggregated-terms"]:
        assert value is None or 0 <= value <= 1
    means = [result[f"{split}-set"][f"overall-{metric}-score"] for split in SPLITS for metric in ANSWER_SCORES]
    assert all(mean is None or 0 <= mean <= 1 for mean in means)


@FEW
@given(st.integers(1, 400), st.integers(1, 400))
def test_the_perfect_forgetting_band_shrinks_with_documents(members: int, others: int) -> None:
    bands = membership.perfect_forgetting(members, others)
    more = membership.perfect_forgetting(members * 4, others * 4)
    assert bands is not None
    assert more is not None
    for area, score in (bands, more):
        assert 0 <= area.low <= 0.5 <= area.high <= 1
        assert 0 <= score.low <= score.mean <= score.high == 1
    assert more[0].high <= bands[0].high
    assert more[1].mean >= bands[1].mean


@FEW
@given(st.integers(0, 300), st.integers(1, 300))
def test_an_interval_holds_its_share_and_narrows(right: int, asked: int) -> None:
    share = min(right, asked)
    low, high = membership.wilson_interval(share, asked)  # type: ignore[misc]
    assert 0 <= low <= share / asked <= high <= 1 + 1e-12
    tight = membership.wilson_interval(share * 9, asked * 9)
    assert tight is not None
    assert tight[1] - tight[0] <= high - low + 1e-12


@FEW
@given(st.lists(TEXT, min_size=1, max_size=8), st.randoms())
def test_fluency_is_made_of_shares_and_blind_to_order(texts: list[str], rng: random.Random) -> None:
    known = vocabulary(texts)
    found = fluency(texts, known)
    assert found is not None
    for share in (found.degenerate, found.empty, found.repetition, found.known_words):
        assert 0 <= share <= 1
    assert found.known_words == 1.0  # every word is in the vocabulary of the texts themselves
    assert found.entropy >= 0
    again = fluency(rng.sample(texts, len(texts)), known)
    assert again is not None
    assert again.degenerate == found.degenerate
    assert again.entropy == pytest.approx(found.entropy)


@FEW
@given(st.lists(st.sampled_from(["the", "cat", "sat", "here"]), min_size=3, max_size=12), st.integers(2, 6))
def test_saying_it_again_is_repetition(words: list[str], times: int) -> None:
    once, again = " ".join(words), " ".join(words * times * 4)
    assert repetition(again) >= repetition(once)


@FEW
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=40),
    st.randoms(),
)
def test_accuracy_is_the_mean_over_questions_whatever_their_order(
    asked: list[tuple[int, int, str]], rng: random.Random
) -> None:
    def summary(rows: list[tuple[int, int, str]]) -> Utility:
        questions = [
            Question(str(i), "q", ("a", "b", "c", "d"), key, subject) for i, (key, _, subject) in enumerate(rows)
        ]
        return utility(questions, [choice for _, choice, _ in rows])

    found = summary(asked)
    assert found.accuracy == pytest.approx(sum(key == choice for key, choice, _ in asked) / len(asked))
    assert sum(found.letters.values()) == sum(found.answer_key.values()) == len(asked)
    sizes = {subject: sum(s == subject for _, _, s in asked) for subject in found.by_subject}
    weighted = sum(found.by_subject[subject] * size for subject, size in sizes.items()) / len(asked)
    assert weighted == pytest.approx(found.accuracy)
    assert found.interval[0] <= found.accuracy <= found.interval[1]
    again = summary(rng.sample(asked, len(asked)))
    assert (again.letters, again.by_subject, again.signal) == (
        found.letters,
        found.by_subject,
        found.signal,
    )


@FEW
@given(st.lists(st.floats(-30, 0), min_size=1, max_size=20), TEXT.filter(bool))
def test_membership_scores_of_one_text_are_finite_and_min_k_falls_with_k(log_probs: list[float], text: str) -> None:
    values = np.array(log_probs)
    assert 0 <= per_token(values) <= 1
    assert token_metrics.zlib_score(values, text) >= 0
    found = [token_metrics.min_k_score(values, share) for share in (0.1, 0.4, 1.0)]
    assert all(less <= more + 1e-9 for more, less in pairwise(found))  # sums in another order round otherwise
    ones, zeros = np.ones_like(values), np.zeros_like(values)
    assert token_metrics.min_k_plus_score(values, zeros, ones) == token_metrics.min_k_score(values)


@FEW
@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20))
def test_truth_scores_are_shares(ratios: list[float]) -> None:
    assert 0 <= token_metrics.forget_truth_score(ratios) <= 1
    assert 0 <= token_metrics.retain_truth_score(ratios) <= 1
    inverse = [1 / ratio for ratio in ratios]
    assert token_metrics.forget_truth_score(inverse) == pytest.approx(token_metrics.forget_truth_score(ratios))
