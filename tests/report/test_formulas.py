"""The formulas that are shown give the numbers that are computed."""

from __future__ import annotations

import pytest

from unlearn_core.evaluation import semeval
from unlearn_core.evaluation.scores import TERM_NAMES
from unlearn_core.report.formulas import SCORES, explained, term_formula


def test_every_score_and_term_has_its_formula() -> None:
    assert set(SCORES) == {"final_score", "task_aggregate", "mia_score", "utility"}
    for name in TERM_NAMES:
        assert term_formula(name).startswith("1 - ") == name.startswith("forget/")
        assert ("ROUGE-L" in term_formula(name)) == name.endswith("regurgitation")


def test_the_formulas_agree_with_the_protocol() -> None:
    terms = [0.5, 0.25, *[1.0] * 10]
    assert semeval.task_aggregate(list(terms)) == pytest.approx(12 / sum(1 / term for term in terms))
    assert semeval.mia_score(0.6) == pytest.approx(1 - 2 * abs(0.6 - 0.5))
    assert semeval.rouge_l_recall("one two three four", "one three") == 2 / 4


def test_the_button_is_described_by_its_tip() -> None:
    shown = explained("mia_score", "MIA", SCORES["mia_score"])
    assert 'aria-describedby="le-formula-mia_score"' in shown
    assert 'id="le-formula-mia_score"' in shown
