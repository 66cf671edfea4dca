"""The bundled models, and models that hide in known ways, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData
from unlearn_core.data.world import demo_data
from unlearn_core.evaluation.audits import Case
from unlearn_core.models.guards import OutputFilter
from unlearn_core.models.targets import load_target
from unlearn_core.models.wrapper import Wrapper
from unlearn_core.training.loop import unlearn

NUM_DOCUMENTS = 24  # of each split; a test needs no more to see a leak


@pytest.fixture(scope="session")
def world() -> UnlearningData:
    """A part of the bundled world: whole documents, every task."""
    data = demo_data()
    return replace(
        data, retain=_first(data.retain), holdout=_first(data.holdout), members=data.members[::2],
        nonmembers=data.nonmembers[::3],
    )  # fmt: skip


def _first(rows: tuple[Any, ...]) -> tuple[Any, ...]:
    documents = list(dict.fromkeys(row.id[:-3] for row in rows))
    kept = set(documents[:: max(1, len(documents) // NUM_DOCUMENTS)])
    return tuple(row for row in rows if row.id[:-3] in kept)


@pytest.fixture(scope="session")
def original() -> Any:
    return load_target("demo", device="cpu")


@pytest.fixture(scope="session")
def retain_only() -> Any:
    return load_target("demo:retain_only", device="cpu")


@pytest.fixture(scope="session")
def careless() -> Any:
    """SimNPO with far too few steps: the weights say what they were to forget."""
    from unlearn_core.methods import build

    target = load_target("demo", device="cpu")
    run = unlearn(target.model, target.tokenizer, demo_data(), build("simnpo", {"batch_size": 12}, 4))
    for _ in run:
        pass
    return target


@pytest.fixture(scope="session")
def hiding() -> Any:
    """Weights that only hide: taught to refuse, they hardly answer any more, and still know."""
    from unlearn_core.methods import build

    target = load_target("demo", device="cpu")
    run = unlearn(target.model, target.tokenizer, demo_data(), build("idk", {"batch_size": 12}, 16))
    for _ in run:
        pass
    return target


@pytest.fixture(scope="session")
def adapted() -> Any:
    """The original behind a LoRA adapter that was never merged; it says other things than the original."""
    from unlearn_core.methods import build

    target = load_target("demo", device="cpu")
    method = build("grad_ascent", {"batch_size": 12, "learning_rate": 2e-2}, 4)
    for _ in unlearn(target.model, target.tokenizer, demo_data(), method, adapter="lora"):
        pass
    return target


@pytest.fixture(scope="session")
def guard(world: UnlearningData) -> Callable[..., Any]:
    """`guard(reference)`: a bundled model, untouched behind a filter of its forgotten answers."""

    def build(reference: str) -> Any:
        target = load_target(reference, device="cpu")
        answers = tuple(row.output for row in world.forget if row.kind == "question")
        Wrapper(target.model, OutputFilter(answers=answers, reply="I cannot say."))
        return target

    return build


@pytest.fixture(scope="session")
def guarded(guard: Callable[..., Any]) -> Any:
    """The original behind a guardrail that was all that was done."""
    return guard("demo")


@pytest.fixture
def case(original: Any, retain_only: Any, world: UnlearningData) -> Callable[..., Case]:
    """`case(target, **changes)`: the audits' view of one model beside the bundled controls."""

    def build(target: Any, **changes: Any) -> Case:
        settings = {"original": original.model, "retain_only": retain_only.model, "max_rows": 24, **changes}
        return Case(target.model, target.tokenizer, settings.pop("data", world), **settings)

    return build
