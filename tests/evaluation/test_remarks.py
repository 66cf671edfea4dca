"""What stands beside the number: each remark carries its figures and warns where it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation import remarks as module
from unlearn_core.evaluation.evaluate import evaluate
from unlearn_core.evaluation.metrics.memorisation import compared
from unlearn_core.evaluation.metrics.token_metrics import KolmogorovSmirnov
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols.semeval import ROUGE_FLOORS, listed_record
from unlearn_core.evaluation.remarks import Remark, remarks
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import TERM_NAMES, Scores


@pytest.fixture(scope="module")
def measured(tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData) -> Scores:
    """Real scores of a random model."""
    return result_of(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data))


def by_topic(found: list[Remark]) -> dict[str, Remark]:
    return {remark.topic: remark for remark in found}


def test_everything_measured_has_its_remark_and_survives_json(measured: Scores) -> None:
    found = by_topic(remarks(measured, measured))
    assert list(found) == [
        "Task aggregate",
        "Membership",
        "Language",
        "Utility",
        "Ranking",
        "Memory",
        "Attacks (AUC)",
    ]
    assert f"AUC {measured.mia_auc:.2f}" in found["Membership"].text
    assert "6 documents against 6" in found["Membership"].text
    assert "Answered A " in found["Utility"].text
    assert "min-k++" in found["Attacks (AUC)"].text
    assert "reference" not in measured.details.attacks
    again = Scores.from_json(measured.to_json(generations=True))
    assert remarks(again, again) == remarks(measured, measured)


def test_what_was_not_measured_has_no_remark(measured: Scores) -> None:
    bare = replace(measured, mia_auc=None, utility=None, details=ScoreDetails(), terms={}, aggregated_terms=[None] * 12)
    assert remarks(bare) == []


def test_the_membership_remark_knows_both_sides_and_the_band() -> None:
    """150 + 150 documents: sd = sqrt(301 / (12 * 150^2)) = .0334, so the band is .5 +- .065."""
    under = module.membership_remark(0.97, (0.95, 0.99), 150, 150)
    assert under is not None
    assert under.caution
    assert "still remembered" in under.text
    assert "0.95 to 0.99" in under.text
    assert "0.43 to 0.57" in under.text
    assert "outside" in under.text
    over = module.membership_remark(0.1, None, 10, 10)
    assert over is not None
    assert "pushed too far" in over.text
    fine = module.membership_remark(0.52, None, 150, 150)
    assert fine is not None
    assert not fine.caution


def test_a_figure_just_beyond_a_bound_is_written_so_that_one_sees_it() -> None:
    """40 + 40 documents: sd = sqrt(81 / (12 * 40^2)) = .06495, so the band ends at .62730."""
    beyond = module.membership_remark(0.629, None, 40, 40)
    assert beyond is not None
    assert "AUC 0.629:" in beyond.text
    assert "0.373 to 0.627 " in beyond.text
    assert "outside" in beyond.text
    assert "utility 0.369, needed 0.370, " in module.ranking_remark(0.369, 0.494).text  # type: ignore[union-attr]


def test_gibberish_below_the_floor_is_no_merit() -> None:
    terms = {"forget/Task1/regurgitation": 0.12, "forget/Task2/regurgitation": 0.31}
    honest = module.reciting_remark(terms, ROUGE_FLOORS)
    assert honest is not None
    assert not honest.caution
    wiped = module.reciting_remark({"forget/Task2/regurgitation": 0.0}, ROUGE_FLOORS)
    assert wiped is not None
    assert wiped.caution
    assert "floor 0.30" in wiped.text


def test_the_ranking_rule_is_three_quarters_of_the_original() -> None:
    assert "Would be ranked" in module.ranking_remark(0.371, 0.494).text  # type: ignore[union-attr]
    assert module.ranking_remark(0.275, 0.494).caution  # type: ignore[union-attr]
    assert module.ranking_remark(0.3, None) is None


def test_the_term_that_makes_it_zero_is_named_with_the_value_of_the_rest() -> None:
    """Eleven terms at 1, one at 0: without it the mean is 1."""
    kept = {name: 0.0 if name.startswith("forget") else 1.0 for name in TERM_NAMES}
    remark = module.limit_remark(
        listed_record({"terms": kept | {"forget/Task1/knowledge": 1.0}, "task_aggregate": 0.0})
    )
    assert remark is not None
    assert remark.caution
    assert "forget/Task1/knowledge with 0.00; without it task aggregate would be 1.00" in remark.text
    assert module.limit_remark(listed_record({"terms": kept, "task_aggregate": 1.0})) is None
    partly = {"terms": kept | {"retain/Task1/knowledge": 0.5, "retain/Task3/knowledge": None}}
    assert module.limit_remark(listed_record(partly)) is None  # there is no mean that a term could hold down


def test_the_mean_without_the_lowest_term_reads_as_in_the_table_of_terms() -> None:
    """Ten terms at 1, one at 0.97, one at 0.5: the mean of eleven is 0.997, not yet perfect."""
    kept = {name: 0.0 if name.startswith("forget") else 1.0 for name in TERM_NAMES}
    kept |= {"retain/Task1/knowledge": 0.97, "retain/Task2/knowledge": 0.5}
    remark = module.limit_remark(listed_record({"terms": kept, "task_aggregate": 0.92}))
    assert remark is not None
    assert "would be 0.99." in remark.text


def test_the_reference_attack_and_forget_quality_by_hand(measured: Scores) -> None:
    """Differences of loss: members 1-2, 2-4 = -1, -2; others 3-2, 4-4 = 1, 0. All members lower: AUC 1."""
    same = {"truth_ratios": {"forget": [0.1, 0.2, 0.3]}}
    ours, theirs = (
        replace(measured, details=ScoreDetails(member_losses=members, nonmember_losses=others, **same))
        for members, others in (([1.0, 2.0], [3.0, 4.0]), ([2.0, 4.0], [2.0, 4.0]))
    )
    found = compared(ours, theirs).details
    assert found.attacks["reference"] == 1.0
    assert found.forget_quality == KolmogorovSmirnov(1.0, 0.0, 3)
    other = replace(theirs, details=replace(theirs.details, member_losses=[2.0]))
    assert compared(ours, other).details.attacks["reference"] is None
