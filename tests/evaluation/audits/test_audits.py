"""Each audit finds what was left on purpose, and nothing in the model that never knew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from audit_helpers import finish

from unlearn_core.errors import InputError
from unlearn_core.evaluation.audits import REGISTRY, Audit, AuditResult, Case, choose, describe
from unlearn_core.evaluation.audits.beneath import Beneath
from unlearn_core.evaluation.audits.distance import Distance
from unlearn_core.evaluation.audits.latent import Latent
from unlearn_core.evaluation.audits.membership import Membership
from unlearn_core.evaluation.audits.probes import Probes
from unlearn_core.evaluation.audits.quantisation import Quantisation
from unlearn_core.evaluation.audits.relearning import Relearning
from unlearn_core.evaluation.audits.rephrasing import Rephrasing
from unlearn_core.evaluation.audits.sampling import Sampling
from unlearn_core.evaluation.audits.suffix import Suffix
from unlearn_core.models.hashing import weights_hash

SMALL: tuple[Audit, ...] = (
    Membership(), Distance(), Rephrasing(max_rows=16), Relearning(num_rows=12, num_steps=6, num_looks=1),
    Quantisation(), Sampling(num_samples=4), Probes(max_rows=80), Latent(num_rows=12, num_steps=6),
    Suffix(num_rows=4, num_steps=2, num_candidates=6, length=4),
)  # fmt: skip
NAMES = [audit.info.name for audit in SMALL]
# What takes a guardrail off, attacks the weights behind it, or reads the likelihood of bare text.
BARE = [Beneath(), *(audit for audit in SMALL if audit.on_weights or isinstance(audit, Membership))]


@pytest.mark.parametrize("audit", SMALL, ids=NAMES)
def test_a_careless_run_leaks(audit: Audit, case: Callable[..., Case], careless: Any) -> None:
    before = weights_hash(careless.model)
    result = finish(audit.run(case(careless)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["forget"] > (result.control or 0.0)
    assert result.rows
    assert weights_hash(careless.model) == before
    assert not careless.model.training
    assert AuditResult.from_json(result.to_json()) == result


@pytest.mark.parametrize("audit", SMALL, ids=NAMES)
def test_the_retain_only_model_holds(audit: Audit, case: Callable[..., Case], retain_only: Any) -> None:
    before = weights_hash(retain_only.model)
    result = finish(audit.run(case(retain_only)))
    assert result.verdict == "holds", result.headline
    assert weights_hash(retain_only.model) == before


@pytest.mark.parametrize(
    "audit",
    [Relearning(num_rows=12, num_steps=12, num_looks=1), Latent(num_rows=24, num_steps=20), Distance()],
)
def test_weights_that_only_hide_are_found_out(audit: Audit, case: Callable[..., Case], hiding: Any) -> None:
    result = finish(audit.run(case(hiding)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["forget"] > 2 * result.figures.get("before", 0.0)


def test_an_adapter_that_can_be_taken_off_protects_nothing(case: Callable[..., Case], adapted: Any) -> None:
    before = weights_hash(adapted.model)
    result = finish(Beneath().run(case(adapted)))
    assert result.verdict == "leaks", result.headline
    assert result.figures["before"] < 0.2 < 0.9 < result.figures["forget"]
    assert weights_hash(adapted.model) == before


@pytest.mark.parametrize("audit", BARE, ids=[audit.info.name for audit in BARE])
def test_a_guardrail_alone_is_found_out(audit: Audit, case: Callable[..., Case], guarded: Any) -> None:
    before = weights_hash(guarded.model)
    result = finish(audit.run(case(guarded)))
    assert result.verdict == "leaks", result.headline
    assert weights_hash(guarded.model) == before


def test_a_guardrail_hides_what_is_told_once_it_is_off(case: Callable[..., Case], guarded: Any) -> None:
    figures = finish(Beneath().run(case(guarded))).figures
    assert figures["before"] < 0.1 < 0.9 < figures["forget"]


def test_a_guardrail_before_the_retain_only_model_hides_nothing(
    case: Callable[..., Case], guard: Callable[..., Any]
) -> None:
    result = finish(Beneath().run(case(guard("demo:retain_only"))))
    assert result.verdict == "holds", result.headline


def test_attacks_on_weights_take_the_adapter_as_merged(case: Callable[..., Case], adapted: Any) -> None:
    before = weights_hash(adapted.model)
    audited = case(adapted, max_rows=8)
    assert audited.weights is not adapted.model
    finish(Relearning(num_rows=6, num_steps=1, num_looks=1).run(audited))
    assert weights_hash(adapted.model) == before


def test_relearning_of_no_step_finds_what_was_there(case: Callable[..., Case], careless: Any) -> None:
    result = finish(Relearning(num_rows=6, num_steps=0).run(case(careless, max_rows=8)))
    assert result.figures["forget"] == result.figures["before"]
    assert [row["step"] for row in result.rows if "step" in row] == [0]


def test_nothing_to_take_off_is_said(case: Callable[..., Case], retain_only: Any) -> None:
    result = finish(Beneath().run(case(retain_only)))
    assert result.verdict == "not applicable"
    assert "nothing to take off" in result.headline


@pytest.mark.parametrize("audit", [Distance(), Relearning(num_steps=3, num_looks=1), Quantisation()])
def test_closing_an_audit_puts_the_model_back(
    audit: Audit, case: Callable[..., Case], careless: Any, retain_only: Any
) -> None:
    before = [weights_hash(model) for model in (careless.model, retain_only.model)]
    run = audit.run(case(careless, max_rows=8))
    for _ in range(4):
        next(run)
    run.close()
    assert [weights_hash(model) for model in (careless.model, retain_only.model)] == before
    assert all(p.grad is None for p in careless.model.parameters())


def test_without_a_retain_only_model_the_holdout_is_the_control(
    case: Callable[..., Case], careless: Any
) -> None:
    alone = case(careless, original=None, retain_only=None, max_rows=8)
    assert finish(Distance().run(alone)).verdict == "not applicable"
    result = finish(Quantisation().run(alone))
    assert result.verdict == "leaks"
    assert "retain_only" not in result.figures


def test_every_audit_is_declared_and_chosen_by_name() -> None:
    assert [row["name"] for row in describe()] == list(REGISTRY)
    assert all(row["title"] and row["source"] and row["idea"].count(".") >= 2 for row in describe())
    assert [type(audit) for audit in choose(["sampling", "membership"])] == [Membership, Sampling]
    for wrong in (["no-such"], []):
        with pytest.raises(InputError):
            choose(wrong)


def test_estimates_are_positive_where_an_audit_applies(case: Callable[..., Case], careless: Any) -> None:
    audited = case(careless)
    for audit in choose():
        assert (audit.estimate(audited) > 0) == (audit.missing(audited) is None)
