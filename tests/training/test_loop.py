"""How the loop meets NaN, lack of memory and missing data, and what it leaves on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from loop_helpers import distance, drain, same, snapshot

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import DivergedError, ResourceError
from unlearn_core.methods.base import Context, Losses, Method, StepBatch
from unlearn_core.models.artifacts import DenseDelta
from unlearn_core.training import loop
from unlearn_core.training.loop import scheduled_rate, unlearn
from unlearn_core.training.records import FactProbe, LoopStep, StepDiverged, Warned

pytestmark = pytest.mark.slow

SETTINGS = {"batch_size": 8, "learning_rate": 3e-3}


@pytest.mark.parametrize("piece", [1, 5])
def test_small_pieces_train_to_the_same_weights(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, piece: int
) -> None:
    method = methods.build("lethe", SETTINGS, steps=3)
    whole, pieces = memorised(), memorised()
    drain(unlearn(whole, tiny_tokenizer, tiny_data, method))
    drain(unlearn(pieces, tiny_tokenizer, tiny_data, method, micro_batch=piece))
    assert distance(whole, pieces) < 0.02 * distance(whole, memorised())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_halves_what_runs_at_once_and_not_the_step(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    method = methods.build("grad_diff", SETTINGS, steps=2)
    plain = memorised()
    drain(unlearn(plain, tiny_tokenizer, tiny_data, method))
    real = loop.gradients

    def starved(model: Any, method: Any, context: Any, layout: Any, in_pieces: bool, shift: Any) -> Losses:
        if max(len(pack.at_N) for pack in layout.packs) > 40:
            raise error
        return real(model, method, context, layout, in_pieces, shift)

    monkeypatch.setattr(loop, "gradients", starved)
    model = memorised()
    records, _ = drain(unlearn(model, tiny_tokenizer, tiny_data, method))
    notes = [record.message for record in records if isinstance(record, Warned)]
    assert len(notes) == 1
    assert "Memory ran out" in notes[0]
    assert distance(plain, model) < 0.02 * distance(plain, memorised())


def test_one_sequence_too_many_for_memory_is_said_plainly(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def starved(*args: Any, **kwargs: Any) -> Losses:
        raise MemoryError

    monkeypatch.setattr(loop, "gradients", starved)
    model = memorised()
    before = snapshot(model)
    with pytest.raises(ResourceError, match="memory"):
        drain(unlearn(model, tiny_tokenizer, tiny_data, methods.build("npo", SETTINGS, steps=2)))
    assert same(snapshot(model), before)


class Poisoned(Method):
    """Gradient ascent whose loss, or only whose gradient, is not a number from the third step on."""

    info = methods.get("grad_ascent").info
    in_loss = True

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        context.state["calls"] = context.state.get("calls", 0) + 1
        loss = -batch.forget.logits_NV.log_softmax(-1).square().mean()
        if context.state["calls"] < 3:
            return Losses(loss)
        return Losses(loss * float("nan")) if self.in_loss else Losses(loss + _bad_slope(loss))


def _bad_slope(loss: torch.Tensor) -> torch.Tensor:
    return (loss - loss.detach()).abs().sqrt()  # value 0, slope infinite times 0


@pytest.mark.parametrize("in_loss", [True, False])
def test_a_loss_or_gradient_that_is_no_number_keeps_the_last_good_weights(
    memorised: Callable[..., Any],
    tiny_tokenizer: Any,
    tiny_data: UnlearningData,
    in_loss: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Poisoned, "in_loss", in_loss)
    model = memorised()
    before = snapshot(model)
    run = unlearn(model, tiny_tokenizer, tiny_data, Poisoned(steps=6, batch_size=4))
    good = []

    def watch() -> None:
        good.extend(snapshot(model) for record in run if isinstance(record, LoopStep))

    with pytest.raises(DivergedError, match="step 3") as caught:
        watch()
    assert same(snapshot(model), before), "the next run starts from the original"
    assert isinstance(caught.value, StepDiverged)
    caught.value.artifact.apply()
    assert same(snapshot(model), good[-1])
    assert len(good) == 2


def test_the_learning_rate_rises_then_falls() -> None:
    """10 steps, warm-up 0.2: 1/2, 1, then 8/9, 7/9 ... 1/9 of the peak."""
    method = methods.build("npo", {"warmup": 0.2, "learning_rate": 0.9}, steps=10)
    rates = [scheduled_rate(method, step) for step in range(10)]
    assert rates == pytest.approx([0.45, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])


def test_without_never_trained_text_lethe_works_and_says_what_it_lacks(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    data = replace(tiny_data, holdout=())
    method = methods.build("lethe", SETTINGS, steps=2)
    records, _ = drain(unlearn(memorised(), tiny_tokenizer, data, method))
    assert any(isinstance(record, Warned) and "never-trained" in record.message for record in records)


def test_watched_facts_can_be_named(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    wanted = (tiny_data.forget[3].id, tiny_data.retain[0].id)
    run = unlearn(memorised(), tiny_tokenizer, tiny_data, methods.build("npo", steps=1), probe_ids=wanted)
    probe = next(record for record in run if isinstance(record, FactProbe))
    assert {fact.id for fact in probe.facts} == set(wanted)
    assert {fact.split for fact in probe.facts} == {"forget", "retain"}


def test_a_saved_result_loads_as_a_plain_model_and_as_a_change(
    memorised: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, tmp_path: Path
) -> None:
    """LoRA is merged on the way out; the base is untouched, the checkpoint answers as the adapted model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = memorised()
    before = snapshot(model)
    method = methods.build("npo", {**SETTINGS, "learning_rate": 2e-2}, steps=3)
    _, artifact = drain(unlearn(model, tiny_tokenizer, tiny_data, method, adapter="lora"))
    folder = artifact.save(tmp_path / "out", tiny_tokenizer)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        adapted = model(ids).logits
        plain = AutoModelForCausalLM.from_pretrained(folder)
        torch.testing.assert_close(plain(ids).logits, adapted, atol=1e-4, rtol=1e-4)
    assert len(AutoTokenizer.from_pretrained(folder)) == len(tiny_tokenizer)
    assert list(tmp_path.iterdir()) == [folder]
    base = artifact.release()
    assert same(snapshot(base), before)
    change = DenseDelta.load(base, folder)
    assert torch.equal(base.lm_head.weight, plain.lm_head.weight)
    change.revert()
    assert same(snapshot(base), before)
