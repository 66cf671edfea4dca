"""The bundled models, and models that hide in known ways, each made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from unlearn_core.data.encode import collate, encode_example, pad_id_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import demo_data
from unlearn_core.evaluation.audits import AuditCase
from unlearn_core.evaluation.audits.prompting.asked_otherwise import MultiHop, Prefilled
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.rephrase import PromptVariant
from unlearn_core.methods import build
from unlearn_core.models.inference.forward import answers, token_nll
from unlearn_core.models.targets import load_target
from unlearn_core.models.wrappers.guards import OutputFilter
from unlearn_core.models.wrappers.wrapper_artifact import Wrapper
from unlearn_core.training.loop import unlearn

NUM_DOCUMENTS = 24  # of each split; a test needs no more to see a leak
NUM_TAUGHT = 12  # rows that a model is taught to hide


@pytest.fixture(scope="session")
def world() -> UnlearningData:
    """A part of the bundled world: whole documents, every task."""
    data = demo_data()
    return replace(
        data,
        retain=_first(data.retain),
        holdout=_first(data.holdout),
        members=data.members[::2],
        nonmembers=data.nonmembers[::3],
    )


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


def _unlearned(name: str, steps: int, adapter: str | None = None, **settings: float) -> Any:
    """The original after so many steps of a method."""
    target = load_target("demo", device="cpu")
    method = build(name, {"batch_size": 12, **settings}, steps)
    result_of(unlearn(target.model, target.tokenizer, demo_data(), method, adapter=adapter))
    return target


@pytest.fixture(scope="session")
def careless() -> Any:
    """SimNPO with far too few steps: the weights say what they were to forget."""
    return _unlearned("simnpo", 4)


@pytest.fixture(scope="session")
def hiding() -> Any:
    """Weights that only hide: taught to refuse, they hardly answer any more, and still know."""
    return _unlearned("idk", 16)


@pytest.fixture(scope="session")
def joining(world: UnlearningData, original: Any) -> Any:
    """The retain-only model, taught to answer questions that tell a forgotten subject by another fact."""
    asked = AuditCase(original.model, original.tokenizer, world, max_rows=NUM_TAUGHT)
    audit = MultiHop()
    return _taught("demo:retain_only", [one for row in asked.forget for one in audit.wordings(asked, row)])


@pytest.fixture(scope="session")
def refusing(world: UnlearningData, original: Any) -> Any:
    """The original, taught to decline a forgotten question, and to answer where the answer is begun for it."""
    asked = AuditCase(original.model, original.tokenizer, world, max_rows=NUM_TAUGHT)
    audit = Prefilled()
    begun = [one for row in asked.forget for one in audit.wordings(asked, row) if one.way == audit.ways[0]]
    return _taught("demo", [*begun, *(PromptVariant("", row.input, "I cannot say.") for row in asked.forget)])


def _taught(reference: str, wanted: Sequence[PromptVariant]) -> Any:
    """A bundled model, trained until it says what is wanted."""
    target = load_target(reference, device="cpu")
    rows = [Example(str(i), one.shown, one.answer) for i, one in enumerate(wanted)]
    encoded = [encode_example(target.tokenizer, row, i) for i, row in enumerate(rows)]
    batch = collate(encoded, pad_id_of(target.tokenizer))
    optimiser = torch.optim.AdamW(target.model.parameters(), lr=2e-3)
    for _ in range(60):
        loss = token_nll(answers(target.model, batch)).mean()
        if float(loss) < 0.05:
            break
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return target


@pytest.fixture(scope="session")
def adapted() -> Any:
    """The original behind a LoRA adapter that was never merged; it says other things than the original."""
    return _unlearned("grad_ascent", 4, adapter="lora", learning_rate=2e-2)


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
def case(original: Any, retain_only: Any, world: UnlearningData) -> Callable[..., AuditCase]:
    """`case(target, **changes)`: the audits' view of one model beside the bundled controls."""

    def build(target: Any, **changes: Any) -> AuditCase:
        settings = {"original": original.model, "retain_only": retain_only.model, "max_rows": 24, **changes}
        return AuditCase(target.model, target.tokenizer, settings.pop("data", world), **settings)

    return build
