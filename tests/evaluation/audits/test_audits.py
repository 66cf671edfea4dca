"""Each audit finds what was left on purpose, and nothing in the model that never knew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.audits import REGISTRY, Audit, AuditCase, AuditResult, choose, describe
from unlearn_core.evaluation.audits.detection.detectability import Detectability
from unlearn_core.evaluation.audits.detection.distance import Distance
from unlearn_core.evaluation.audits.detection.membership import Membership
from unlearn_core.evaluation.audits.detection.probes import Probes
from unlearn_core.evaluation.audits.prompting.asked_otherwise import Aliases, MultiHop, Prefilled, Rephrasing, Revival
from unlearn_core.evaluation.audits.prompting.sampling import Sampling
from unlearn_core.evaluation.audits.prompting.suffix import Suffix
from unlearn_core.evaluation.audits.tampering.latent import Latent
from unlearn_core.evaluation.audits.tampering.quantisation import Quantisation
from unlearn_core.evaluation.audits.tampering.relearning import Relearning
from unlearn_core.evaluation.audits.tampering.steering import Steering
from unlearn_core.evaluation.audits.tampering.without_wrapper import WithoutWrapper
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.verdict.headline import DECISIVE
from unlearn_core.models.hashing import weights_hash

pytestmark = pytest.mark.slow

SMALL: tuple[Audit, ...] = (
    Membership(),
    Distance(),
    Detectability(),
    Rephrasing(max_rows=8),
    Aliases(max_rows=16),
    Revival(max_rows=16),
    Relearning(sizes=(12,), num_steps=6),
    Quantisation(),
    Sampling(num_samples=4),
    Probes(max_rows=80),
    Latent(num_rows=12, num_steps=6),
    Steering(num_rows=12, strengths=(2.0,)),
    Suffix(num_rows=4, num_steps=2, num_candidates=6, length=4),
)
NAMES = [audit.info.name for audit in SMALL]
# What takes a guardrail off, attacks the weights behind it, or reads the likelihood of bare text.
BARE = [WithoutWrapper(), *(audit for audit in SMALL if audit.on_weights or isinstance(audit, Membership))]


@pytest.mark.parametrize("audit", SMALL, ids=NAMES)
def test_a_careless_run_leaks(audit: Audit, case: Callable[..., AuditCase], careless: Any) -> None:
    before = weights_hash(careless.model)
    result = result_of(audit.run(case(careless)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["forget"] > (result.control or 0.0)
    assert result.rows
    assert weights_hash(careless.model) == before
    assert not careless.model.training
    assert AuditResult.from_json(result.to_json()) == result


NEVER_KNEW = (*SMALL, MultiHop(), Prefilled())


@pytest.mark.parametrize("audit", NEVER_KNEW, ids=[audit.info.name for audit in NEVER_KNEW])
def test_the_retain_only_model_holds(audit: Audit, case: Callable[..., AuditCase], retain_only: Any) -> None:
    before = weights_hash(retain_only.model)
    result = result_of(audit.run(case(retain_only)))
    assert result.verdict == "holds", result.headline
    assert weights_hash(retain_only.model) == before


@pytest.mark.parametrize(
    "audit",
    [
        Relearning(sizes=(12,), num_steps=12),
        Latent(num_rows=24, num_steps=20),
        Steering(),
        Aliases(),
        Distance(),
    ],
)
def test_weights_that_only_hide_are_found_out(audit: Audit, case: Callable[..., AuditCase], hiding: Any) -> None:
    result = result_of(audit.run(case(hiding)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["forget"] > 2 * result.figures.get("before", 0.0)


def test_what_joins_two_forgotten_facts_is_found_out(case: Callable[..., AuditCase], joining: Any) -> None:
    result = result_of(MultiHop().run(case(joining, max_rows=12)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["beyond_low"] > 0.05


def test_what_only_refuses_to_begin_is_found_out(case: Callable[..., AuditCase], refusing: Any) -> None:
    audited = case(refusing, max_rows=12)
    result = result_of(Prefilled().run(audited))
    assert result.verdict == "leaks", result.headline
    asked = result_of(Rephrasing().run(audited))
    assert asked.rows[0]["way"] == "as trained"
    assert asked.rows[0]["forget"] < 0.1


def test_an_adapter_that_can_be_taken_off_protects_nothing(case: Callable[..., AuditCase], adapted: Any) -> None:
    before = weights_hash(adapted.model)
    result = result_of(WithoutWrapper().run(case(adapted)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["before"] < 0.2 < 0.9 < result.figures["forget"]
    assert weights_hash(adapted.model) == before


@pytest.mark.parametrize("audit", BARE, ids=[audit.info.name for audit in BARE])
def test_a_guardrail_alone_is_found_out(audit: Audit, case: Callable[..., AuditCase], guarded: Any) -> None:
    before = weights_hash(guarded.model)
    result = result_of(audit.run(case(guarded)))
    assert result.verdict == "leaks", result.headline
    assert weights_hash(guarded.model) == before


def test_a_guardrail_hides_what_is_told_once_it_is_off(case: Callable[..., AuditCase], guarded: Any) -> None:
    figures = result_of(WithoutWrapper().run(case(guarded))).figures
    assert figures["before"] < 0.1 < 0.9 < figures["forget"]


def test_a_guardrail_before_the_retain_only_model_hides_nothing(
    case: Callable[..., AuditCase], guard: Callable[..., Any]
) -> None:
    result = result_of(WithoutWrapper().run(case(guard("demo:retain_only"))))
    assert result.verdict == "holds", result.headline


def test_attacks_on_weights_take_the_adapter_as_merged(case: Callable[..., AuditCase], adapted: Any) -> None:
    before = weights_hash(adapted.model)
    audited = case(adapted, max_rows=8)
    assert audited.weights is not adapted.model
    result_of(Relearning(sizes=(6,), num_steps=1).run(audited))
    assert weights_hash(adapted.model) == before


def test_relearning_of_no_step_finds_what_was_there(case: Callable[..., AuditCase], careless: Any) -> None:
    result = result_of(Relearning(sizes=(1, 6), num_steps=0).run(case(careless, max_rows=8)))
    assert result.figures["forget"] == result.figures["before"]
    taught = [(row["taught"], row["step"]) for row in result.rows if "step" in row]
    assert taught == [("unrelated text", 0), ("1 forgotten row", 0), ("6 forgotten rows", 0)]


def test_nothing_to_take_off_is_said(case: Callable[..., AuditCase], retain_only: Any) -> None:
    result = result_of(WithoutWrapper().run(case(retain_only)))
    assert result.verdict == "not applicable"
    assert "nothing to take off" in result.headline


@pytest.mark.parametrize("audit", [Distance(), Relearning(sizes=(6,), num_steps=3), Quantisation()])
def test_closing_an_audit_puts_the_model_back(
    audit: Audit, case: Callable[..., AuditCase], careless: Any, retain_only: Any
) -> None:
    before = [weights_hash(model) for model in (careless.model, retain_only.model)]
    run = audit.run(case(careless, max_rows=8))
    for _ in range(4):
        next(run)
    run.close()
    assert [weights_hash(model) for model in (careless.model, retain_only.model)] == before
    assert all(p.grad is None for p in careless.model.parameters())


def test_without_a_retain_only_model_the_holdout_is_the_control(case: Callable[..., AuditCase], careless: Any) -> None:
    alone = case(careless, original=None, retain_only=None, max_rows=8)
    assert result_of(Distance().run(alone)).verdict == "not applicable"
    result = result_of(Quantisation().run(alone))
    assert result.verdict == "leaks"
    assert "retain_only" not in result.figures


@pytest.mark.parametrize("verdict", ["leaks", "holds"])
def test_probes_read_documents_where_no_question_was_held_out(
    verdict: str, case: Callable[..., AuditCase], world: UnlearningData, careless: Any, retain_only: Any
) -> None:
    """LUME's layout. Rows of a set without completions have no texts to compare documents with."""
    target = careless if verdict == "leaks" else retain_only
    lume = replace(world, holdout=())
    result = result_of(Probes().run(case(target, data=lume, retain_only=None)))
    assert result.verdict == verdict, result.headline
    assert result.figures["known"] > 0.9
    questions = tuple(row for row in world.retain if row.kind == "question")
    for less in (replace(lume, retain=questions), replace(lume, nonmembers=()), replace(lume, members=())):
        assert result_of(Probes().run(case(target, data=less))).verdict == "not applicable"


def test_every_audit_is_declared_and_chosen_by_name() -> None:
    assert [row["name"] for row in describe()] == list(REGISTRY)
    assert all(row["title"] and row["source"] and row["idea"].count(".") >= 2 for row in describe())
    assert [type(audit) for audit in choose(["sampling", "membership"])] == [Membership, Sampling]
    for wrong in (["no-such"], []):
        with pytest.raises(InputError):
            choose(wrong)


def test_the_attacks_that_decide_a_verdict_are_there() -> None:
    assert set(REGISTRY) >= DECISIVE


def test_estimates_are_positive_where_an_audit_applies(case: Callable[..., AuditCase], careless: Any) -> None:
    audited = case(careless)
    for audit in choose():
        assert (audit.estimate(audited) > 0) == (audit.missing(audited) is None)


def test_what_could_not_be_measured_is_written_down_as_null() -> None:
    found = AuditResult("sampling", "holds", "Nothing.", {"forget": float("nan")}, ({"share": float("nan"), "n": 0},))
    record = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert record["figures"] == {"forget": None}
    assert record["rows"] == [{"share": None, "n": 0}]


def test_where_no_control_can_be_asked_alike_nothing_is_judged(
    case: Callable[..., AuditCase], world: UnlearningData, careless: Any, retain_only: Any
) -> None:
    """Controls without a first and a last name have no other names; an empty control holds nothing back either."""
    nameless = tuple(replace(row, input="What is it?", subject="") for row in world.holdout)
    alone = case(careless, data=replace(world, holdout=nameless), original=None, retain_only=None)
    found = result_of(Aliases(max_rows=8).run(alone))
    assert found.verdict == "not applicable"
    assert "nothing to compare with" in found.headline
    beside = case(careless, data=replace(world, holdout=nameless), original=None, retain_only=retain_only.model)
    found = result_of(Aliases(max_rows=8).run(beside))
    assert found.verdict == "leaks", found.headline
    assert "holdout" not in found.figures
