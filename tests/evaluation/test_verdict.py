"""The verdict on the cases it was made for: wrecks, leaks, damage, and honest forgetting."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unlearn_core.evaluation.metrics.fluency import fluency, known_share, ngram_entropy, repetition, vocabulary
from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import TERM_NAMES, Scores
from unlearn_core.evaluation.verdict import WORDS, Verdict, verdict


def scores(
    forget: tuple[float, float],
    retain: tuple[float, float],
    auc: float | None = 0.5,
    utility: float | None = 0.8,
    degenerate: float = 0.0,
    paraphrases: float | None = 0.0,
    unseen: float = 2.0,
    weights: str = "others",
    **terms: float | None,
) -> Scores:
    """Scores with the same (regurgitation, knowledge) in every task."""
    means = {"forget": forget, "retain": retain}
    values: dict[str, float | None] = {
        name: means[name.split("/")[0]][name.endswith("knowledge")] for name in TERM_NAMES
    }
    values |= {name.replace("_", "/"): value for name, value in terms.items()}
    aggregated = semeval.aggregated(values)
    details: dict[str, Any] = {
        "paraphrases": {"forget": paraphrases},
        "utility": {"signal": utility is not None and utility > 0.4},
        "fluency": {"retain": {"degenerate": degenerate}},
        "nonmember_losses": [unseen - 0.1, unseen + 0.1],
    }
    return Scores(
        values,
        aggregated,
        semeval.task_aggregate(aggregated),
        auc,
        semeval.mia_score(auc),
        utility,
        0.0,
        weights,
        details=ScoreDetails.from_json(details),
    )


ORIGINAL = scores((1.0, 1.0), (1.0, 1.0), auc=1.0, paraphrases=0.85, weights="original")
RETAIN_ONLY = scores((0.3, 0.02), (1.0, 1.0), auc=0.49, utility=0.75)
CASES = {
    "doing nothing": (ORIGINAL, "unchanged"),
    "the retain-only model": (RETAIN_ONLY, "answers gone"),
    "an honest run": (scores((0.2, 0.0), (0.97, 0.93), auc=0.6), "answers gone"),
    "careless gradient ascent": (scores((0.0, 0.0), (0.0, 0.0), auc=0.1, utility=0.25), "collapsed"),
    "completions wiped, facts alive": (scores((0.0, 0.4), (0.02, 0.6), auc=0.3), "under-forgotten"),
    "and no language either": (scores((0.0, 0.4), (0.02, 0.6), auc=0.3, unseen=6.0), "collapsed"),
    "utility at chance": (scores((0.1, 0.0), (0.9, 0.9), utility=0.26), "collapsed"),
    "answers that are loops": (scores((0.1, 0.0), (0.6, 0.8), degenerate=0.9), "over-forgotten"),
    "and no utility either": (scores((0.1, 0.0), (0.6, 0.8), degenerate=0.9, utility=0.5), "collapsed"),
    "half of it left": (scores((0.5, 0.5), (1.0, 1.0), auc=0.9), "under-forgotten"),
    "one task left": (scores((0.1, 0.0), (1.0, 1.0), forget_Task2_knowledge=0.6), "under-forgotten"),
    "only the training prompts forgotten": (scores((0.1, 0.0), (1, 1), paraphrases=0.7), "under-forgotten"),
    "documents still recognised": (scores((0.1, 0.0), (1.0, 1.0), auc=0.97), "traces remain"),
    "retain set damaged": (scores((0.1, 0.0), (0.7, 0.75)), "over-forgotten"),
    "documents made conspicuous": (scores((0.1, 0.0), (1.0, 1.0), auc=0.03), "traces remain"),
    "never-seen text a little less likely": (scores((0.1, 0.0), (1.0, 1.0), unseen=2.6), "answers gone"),
    "never-seen text no language any more": (scores((0.0, 0.0), (1.0, 1.0), unseen=5.3), "over-forgotten"),
    "utility below the cut": (scores((0.1, 0.0), (1.0, 1.0), utility=0.55), "over-forgotten"),
}


def test_what_players_find_by_words_is_not_forgotten_and_by_other_means_a_trace() -> None:
    honest = CASES["an honest run"][0]

    def judged(by_words: int) -> Verdict:
        row = {"name": "player", "verdict": "leaks", "figures": {"facts": 2, "by_words": by_words}}
        return verdict(ORIGINAL, honest, None, [row])

    words = judged(1)
    assert words.headline == "Not forgotten: players got 1 fact out in words of their own"
    assert (words.word, words.layer("wordings").state) == ("under-forgotten", "leaks")
    assert words.layer("wordings").reasons[0] == "Players got 1 fact out in words of their own"
    other = judged(0)
    assert other.headline == "Answers gone; traces remain in 1 of 1 attacks"
    assert other.layer("wordings").state == "holds"
    assert (other.layer("attacks").state, other.layer("attacks").n) == ("leaks", 1)


def test_where_wordings_leak_anyway_the_headline_says_how_much() -> None:
    leaky = CASES["only the training prompts forgotten"][0]
    row = {"name": "player", "verdict": "leaks", "figures": {"facts": 1, "by_words": 1}}
    with_finds = verdict(ORIGINAL, leaky, None, [row])
    assert with_finds.headline == verdict(ORIGINAL, leaky, None).headline
    assert "Players got 1 fact out in words of their own" in with_finds.reasons


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("gold", [None, RETAIN_ONLY])
def test_each_case_gets_its_name(name: str, gold: Scores | None) -> None:
    unlearned, label = CASES[name]
    found = verdict(ORIGINAL, unlearned, gold)
    assert found.word == label
    assert found.word in WORDS
    assert found.reasons
    assert found.summary
    assert found.limiting_term in TERM_NAMES


def test_reasons_carry_the_figures() -> None:
    found = verdict(ORIGINAL, CASES["careless gradient ascent"][0])
    assert any("1.00 to 0.00" in reason for reason in found.reasons)
    assert found.would_be_ranked is False
    assert any("below the cut of 0.60" in reason for reason in found.reasons)


def test_a_high_score_does_not_save_a_wreck() -> None:
    wreck = replace(CASES["careless gradient ascent"][0], final_score=0.9, task_aggregate=0.9)
    assert verdict(ORIGINAL, wreck).word == "collapsed"


def test_what_was_not_measured_is_said() -> None:
    absent = {name.replace("/", "_"): None for name in TERM_NAMES if name.startswith("retain")}
    bare = scores((0.1, 0.0), (0, 0), auc=None, utility=None, paraphrases=None, **absent)
    before = scores((1.0, 1.0), (0, 0), auc=None, utility=None, paraphrases=None, weights="original", **absent)
    found = verdict(before, bare)
    assert found.word == "answers gone"
    assert found.would_be_ranked is None
    assert found.layer("neighbours").state == found.layer("membership").state == "not measured"
    assert "Not measured: wordings, neighbours" in found.summary
    assert any("what else was lost is not known" in reason for reason in found.reasons)


def test_a_model_that_never_knew_has_nothing_to_forget() -> None:
    ignorant = scores((0.1, 0.0), (1.0, 1.0))
    found = verdict(ignorant, ignorant)
    assert found.word == "unchanged"
    assert found.headline == "Nothing to forget: the original does not know it"


def test_a_method_that_changed_no_weight_is_said_to_have_changed_none() -> None:
    # A guardrail: same hash, nothing told, losses as before.
    hidden = scores((0.0, 0.0), (1.0, 1.0), auc=1.0, weights="original")
    assert verdict(ORIGINAL, hidden).headline == "Hidden, not forgotten: no weight was changed"
    assert verdict(ORIGINAL, hidden).layer("attacks").state == "leaks"
    assert "Hidden" not in verdict(ORIGINAL, replace(hidden, weights_hash="other")).headline
    unknown = replace(hidden, weights_hash=""), replace(ORIGINAL, weights_hash="")
    assert "Hidden" not in verdict(unknown[1], unknown[0]).headline


def test_chance_level_utility_of_the_original_is_marked() -> None:
    before = replace(ORIGINAL, utility=0.26, details=replace(ORIGINAL.details, utility=Utility()))
    found = verdict(before, scores((0.1, 0.0), (1.0, 1.0), utility=0.25))
    assert found.word == "answers gone"
    assert any("no signal" in reason for reason in found.reasons)


def test_fluency_tells_language_from_wreckage() -> None:
    known = vocabulary(["She was born in Oldport and studied the tides of the harbour"])
    good = fluency(["She studied the harbour of Oldport and was born in the tides"], known)
    loop = fluency(["and and and and and and and and and and"], known)
    noise = fluency(["qzx fjw ppl krt oom wubba"], known)
    empty = fluency([" \n"], known)
    assert good is not None
    assert good.degenerate == 0.0
    assert [f.degenerate for f in (loop, noise, empty) if f] == [1.0, 1.0, 1.0]
    assert fluency([], known) is None
    assert repetition("abc " * 2) == 0.0
    assert repetition("ab" * 40) > 0.9
    assert known_share("900-12-3456 x@y.example 5", known) == 1.0


def test_ngram_entropy_by_hand() -> None:
    """Four different words: 3 bigrams, 2 trigrams, so (2/3 log2 3 + 4/3 log2 2) / 2."""
    assert ngram_entropy(["a", "b", "c", "d"]) == pytest.approx((2 / 3 * 1.584963 + 4 / 3) / 2, abs=1e-5)
    assert ngram_entropy(["and"] * 20) == 0.0
