"""The formulas that are shown give the numbers that are computed."""

from __future__ import annotations

import pytest

from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import TERM_NAMES
from unlearn_core.report.kit.markup import explained


def test_every_score_and_term_has_its_formula() -> None:
    terms = {term.name: term for term in semeval.listed_record({}).terms}
    assert all(term.formula for term in terms.values())
    for name in TERM_NAMES:
        assert terms[name].formula.startswith("1 - ") == name.startswith("forget/")
        assert terms[name].title == semeval.title_of(name)
        assert ("ROUGE-L" in terms[name].formula) == name.endswith("regurgitation")


def test_terms_have_names_that_people_read() -> None:
    assert semeval.title_of("forget/Task2/knowledge") == "Personal data, answering"
    told = semeval.in_words("The lowest is forget/Task1/knowledge; Task3 is not.")
    assert told == "The lowest is stories, answering, on the forget set; biographies is not."


def test_the_formulas_agree_with_the_protocol() -> None:
    terms = [0.5, 0.25, *[1.0] * 10]
    assert semeval.task_aggregate(list(terms)) == pytest.approx(12 / sum(1 / term for term in terms))
    assert semeval.mia_score(0.6) == pytest.approx(1 - 2 * abs(0.6 - 0.5))
    assert semeval.rouge_l_recall("one two three four", "one three") == 2 / 4


def test_the_button_is_described_by_its_tip() -> None:
    shown = explained("mia_score", "MIA", "1 - 2 |AUC - 0.5|")
    assert 'aria-describedby="le-formula-mia_score"' in shown
    assert 'id="le-formula-mia_score"' in shown
