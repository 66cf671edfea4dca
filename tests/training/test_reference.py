"""The reference: exact at the start, never a second model, and the adapter's way equals the stored one."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core import methods
from unlearn_core.data.encode import Encoded
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import BatchComposition, Edit
from unlearn_core.methods.losses import without_first_unlikely
from unlearn_core.models.adapters import apply_lora, lora_layers
from unlearn_core.models.inference.forward import sum_per_row, token_nll
from unlearn_core.training import packing
from unlearn_core.training.data import build_parts
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.loop import LoopStep, unlearn
from unlearn_core.training.packing import forward, split_parts
from unlearn_core.training.reference import FrozenReference

PAD = 1


@pytest.fixture
def parts(tiny_tokenizer: Any, tiny_data: UnlearningData) -> Any:
    return build_parts(tiny_tokenizer, tiny_data, BatchComposition(forget=4, retain=4, holdout=2))


def answers_of(model: Any, parts: Any, name: str, rows: list[int]) -> Any:
    layout = pack_parts(model, {name: [parts[name].rows[row] for row in rows]}, PAD)
    return split_parts(layout, forward(model, layout))[name]


def all_rows(parts: Any) -> Callable[[str], list[int]]:
    return lambda name: list(range(len(parts[name].rows)))


def test_reference_nll_is_the_sum_over_each_answer(tiny_model: Callable[..., Any], parts: Any) -> None:
    model = tiny_model()
    reference = FrozenReference(model, parts, PAD, all_rows(parts))
    answers = answers_of(model, parts, "forget", [7, 2])
    expected = sum_per_row(token_nll(answers), answers)
    torch.testing.assert_close(reference.nll("forget")[[7, 2]], expected, atol=1e-4, rtol=1e-5)


def test_reference_nll_must_be_asked_for_before_the_first_step(tiny_model: Callable[..., Any], parts: Any) -> None:
    reference = FrozenReference(tiny_model(), parts, PAD, all_rows(parts))
    reference.frozen = True
    with pytest.raises(AssertionError, match="prepare"):
        reference.nll("forget")


@pytest.mark.parametrize("dense_bytes", [2**30, 0])
def test_kl_is_zero_at_the_reference_and_positive_beyond(
    tiny_model: Callable[..., Any], parts: Any, dense_bytes: int
) -> None:
    """Stored in full, and as the likeliest tokens with the rest as one outcome."""
    model = tiny_model()
    reference = FrozenReference(model, parts, PAD, all_rows(parts), dense_bytes=dense_bytes)
    reference.keep("retain")
    loss = reference.kl("retain", answers_of(model, parts, "retain", [3, 1, 8])).mean()
    slopes = torch.autograd.grad(loss, list(model.parameters()))
    assert abs(loss.item()) < 1e-5
    assert max(slope.abs().max().item() for slope in slopes) < 1e-4
    with torch.no_grad():
        next(model.parameters()).mul_(1.3)
        moved = reference.kl("retain", answers_of(model, parts, "retain", [3, 1, 8]))
    assert moved.mean().item() > 0.01


def test_log_probs_of_kept_tokens_are_a_distribution(tiny_model: Callable[..., Any], parts: Any) -> None:
    model = tiny_model()
    reference = FrozenReference(model, parts, PAD, all_rows(parts), dense_bytes=0)
    reference.keep("retain")
    log_probs_NV = reference.log_probs("retain", answers_of(model, parts, "retain", [0, 5]))
    torch.testing.assert_close(log_probs_NV.exp().sum(-1), torch.ones(len(log_probs_NV)), atol=1e-4, rtol=0)


def test_where_the_logits_of_a_pass_are_large_the_same_is_stored_row_by_row(
    tiny_model: Callable[..., Any], parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    answers = answers_of(model, parts, "retain", [5, 0, 2])
    said = []
    for most in (packing.WHOLE_BYTES, 0):
        monkeypatch.setattr(packing, "WHOLE_BYTES", most)
        reference = FrozenReference(model, parts, PAD, all_rows(parts))
        reference.keep("retain")
        said.append(reference.log_probs("retain", answers))
    torch.testing.assert_close(*said, atol=1e-5, rtol=1e-5)


def test_adapter_off_equals_the_stored_reference(tiny_model: Callable[..., Any], parts: Any) -> None:
    stored_by = tiny_model()
    stored = FrozenReference(stored_by, parts, PAD, all_rows(parts))
    stored.keep("retain")
    model = tiny_model()
    wrapped = apply_lora(model, rank=4)
    with torch.no_grad():
        for _, layer in lora_layers(model):
            layer.lora_B["lethe"].weight.normal_(std=0.1)
    switched = FrozenReference(model, parts, PAD, all_rows(parts), wrapped.disable_adapter)
    answers = answers_of(model, parts, "retain", [3, 1])
    found = switched.kl("retain", answers)
    assert found.mean().item() > 1e-3
    torch.testing.assert_close(found, stored.kl("retain", answers), atol=1e-4, rtol=1e-3)
    found.mean().backward()
    assert all(layer.lora_B["lethe"].weight.grad is not None for _, layer in lora_layers(model))


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize(("size", "temperature"), [(0.5, 1.2), (20.0, 1.0)])
def test_a_calibrated_reference_is_a_little_less_sure_where_the_model_is_sure_and_wrong(
    tiny_model: Callable[..., Any], parts: Any, lora: bool, size: float, temperature: float
) -> None:
    """With a head of half the size the targets gain .05 nats at 1.1, .09 at 1.2 and .13 at 1.3, so 1.2 it is. One of
    twenty times the size would gain 14 at 1.1: it is not another model that is wanted, so it says what it said."""
    model = tiny_model()
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(size)
    switch = apply_lora(model, rank=4).disable_adapter if lora else None
    reference = FrozenReference(model, parts, PAD, all_rows(parts), switch)
    reference.keep("retain", calibrated=True)
    answers = answers_of(model, parts, "retain", [2, 0])
    expected_NV = (answers.logits_NV / temperature).log_softmax(-1)
    torch.testing.assert_close(reference.log_probs("retain", answers), expected_NV, atol=1e-3, rtol=1e-4)


TRAINED = [
    (name, adapter)
    for name, cls in methods.REGISTRY.items()
    for adapter in ("full", "lora")
    if not issubclass(cls, Edit) and cls.traits.adapter in (None, adapter)
]


@pytest.mark.parametrize(("name", "adapter"), TRAINED)
def test_no_second_model_is_resident_during_a_run(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData, name: str, adapter: str
) -> None:
    """The bytes of every parameter alive in this process: one model, and what is added to train."""
    gc.freeze()  # what other tests left behind is not looked at
    model = tiny_model("llama")
    one = sum(4 * p.numel() for p in model.parameters())
    assert parameter_bytes() == one
    method = methods.build(name, {"batch_size": 2}, 1)
    for record in unlearn(model, tiny_tokenizer, tiny_data, method, adapter=adapter, probe_ids=()):
        if isinstance(record, LoopStep):
            added = sum(4 * p.numel() for _, p in lora_parameters(model))
            assert parameter_bytes() == one + added
            assert (added > 0) == (adapter == "lora")


def lora_parameters(model: Any) -> list[Any]:
    return [(name, p) for name, p in model.named_parameters() if "lora_" in name]


def parameter_bytes() -> int:
    """Bytes of the parameters of any kind of module, each storage once."""
    alive = [thing for thing in gc.get_objects() if type(thing) is torch.nn.Parameter]
    return sum({p.untyped_storage()._cdata: p.untyped_storage().nbytes() for p in alive}.values())


def test_a_distilled_row_is_answered_like_its_teachers(tiny_model: Callable[..., Any], parts: Any) -> None:
    """Two teachers: the mean of what is said at their targets; the first uncertain target loses 2 nats."""
    model = tiny_model()
    rows = parts["forget"].rows
    answer = rows[0].ids[rows[0].num_prompt :]
    teachers = [Encoded((*prompt, *answer), len(prompt)) for prompt in ((9, 8, 7), (5, 6, 7, 8))]
    with torch.no_grad():
        said = [model(torch.tensor([t.ids])).logits[0, t.num_prompt - 1 : -1].softmax(-1) for t in teachers]
    mean_NV = (said[0] + said[1]) / 2
    for penalty in (0.0, 2.0):
        reference = FrozenReference(model, parts, PAD, all_rows(parts))
        labels_N = torch.tensor(answer)
        reference.distil("forget", {0: teachers}, lambda row, told: without_first_unlikely(told, labels_N, penalty))  # noqa: B023
        found_NV = reference.log_probs("forget", answers_of(model, parts, "forget", [0])).exp()
        first = next(n for n, token in enumerate(answer) if mean_NV[n, token] < 0.5)
        odds, before = (p[first, answer[first]] / (1 - p[first, answer[first]]) for p in (found_NV, mean_NV))
        assert odds.log().item() == pytest.approx(before.log().item() - penalty, abs=1e-3)
        others = [n for n in range(len(answer)) if n != first]
        torch.testing.assert_close(found_NV[others], mean_NV[others], atol=1e-5, rtol=1e-3)
