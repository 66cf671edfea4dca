"""The retain loss and the forget weight of the gradient family, as open-unlearning's GradDiff has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import PretrainedConfig

from unlearn_core import methods
from unlearn_core.data.encode import collate, encode_example
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import RowPart, StepBatch
from unlearn_core.methods.capabilities import reference_parts_of
from unlearn_core.models.inference.forward import answers

# IDK takes one mean over the tokens of both sets, which is checked apart.
VOCABULARY = 320
FAMILY = ("grad_diff", "npo", "simnpo", "wga", "satimp", "dpo", "altpo", "ceu", "fpga", "undial")


@pytest.fixture(scope="module")
def batch(tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData) -> StepBatch:
    model = tiny_model()
    parts = []
    for rows in (tiny_data.forget[:3], tiny_data.retain[:3]):
        parts.append(answers(model, collate([encode_example(tiny_tokenizer, row, i) for i, row in enumerate(rows)], 1)))
    forget, retain = parts
    return StepBatch(forget, retain, refusals=retain, alternatives=retain)


def context(kept: list[str], kl: float = 0.25) -> Any:
    reference = SimpleNamespace(
        keep=kept.append,
        kl=lambda part, part_answers: torch.full_like(part_answers.labels_N, kl, dtype=torch.float32),
        nll=lambda part: torch.ones(3),
        log_probs=lambda part, part_answers: part_answers.logits_NV.log_softmax(-1),
    )
    passes = SimpleNamespace(answers=lambda rows: (), continuations=lambda prompts, max_new_tokens: ())
    model = SimpleNamespace(config=PretrainedConfig(vocab_size=VOCABULARY), device="cpu")
    parts = {"forget": RowPart((), ()), "retain": RowPart((), ())}
    state = {"weight_V": torch.linspace(0.1, 1, VOCABULARY)}
    return SimpleNamespace(reference=reference, current=passes, model=model, parts=parts, state=state)


@pytest.mark.parametrize("name", FAMILY)
def test_gamma_scales_the_push_and_alpha_the_hold(name: str, batch: StepBatch) -> None:
    def total(**settings: Any) -> float:
        return float(methods.build(name, settings).losses(context([]), batch).total)

    push = total(retain_weight=0.0, forget_weight=1.0)
    hold = total(retain_weight=1.0, forget_weight=0.0)
    assert total(retain_weight=3.0, forget_weight=0.5) == pytest.approx(0.5 * push + 3 * hold, rel=1e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_with_kl_the_original_s_predictions_hold_the_retain_set(name: str, batch: StepBatch) -> None:
    method = methods.build(name, {"retain_loss": "kl", "retain_weight": 2.0, "forget_weight": 0.0})
    kept: list[str] = []
    method.prepare(context(kept))
    assert sorted(kept) == sorted(reference_parts_of(method))
    assert "retain" in kept
    losses = method.losses(context([]), batch)
    assert float(losses.total) == pytest.approx(0.5)
    assert float(losses.retain) != pytest.approx(0.25)  # the curve shows the loss of the text either way
    assert "retain" not in reference_parts_of(methods.build(name))


def test_idk_takes_one_mean_over_the_tokens_of_refusals_and_retain_answers(batch: StepBatch) -> None:
    assert batch.retain is not None
    kept = batch.retain.only([True, False, False])  # fewer tokens, so that a mean of two means is another
    batch = replace(batch, retain=kept)
    refused_N, kept_N = (
        torch.nn.functional.cross_entropy(part.logits_NV, part.labels_N, reduction="none").detach()
        for part in (batch.forget, kept)
    )
    tokens = len(refused_N) + len(kept_N)

    def total(**settings: Any) -> float:
        return float(methods.build("idk", settings).losses(context([]), batch).total)

    assert total() == pytest.approx(float(torch.cat([refused_N, kept_N]).mean()), rel=1e-5)
    by_hand = (3 * refused_N.sum() + 0.5 * kept_N.sum()) / tokens
    assert total(forget_weight=3.0, retain_weight=0.5) == pytest.approx(float(by_hand), rel=1e-5)
    by_hand = (refused_N.sum() + 2 * 0.25 * len(kept_N)) / tokens
    assert total(retain_weight=2.0, retain_loss="kl") == pytest.approx(float(by_hand), rel=1e-5)


def test_rmu_trains_what_the_patterns_name() -> None:
    from unlearn_core.errors import InputError

    names = [f"model.layers.{i}.mlp.{part}.weight" for i in range(4) for part in ("up_proj", "down_proj")]
    rmu = methods.build("rmu")
    assert [n for n in names if rmu.trains(n, 4)] == [f"model.layers.{i}.mlp.down_proj.weight" for i in (0, 1, 2)]
    chosen = methods.build("rmu", {"modules": r"layers\.(0|3)\.", "weights": "up_proj"})
    assert [n for n in names if chosen.trains(n, 4)] == [f"model.layers.{i}.mlp.up_proj.weight" for i in (0, 3)]
    with pytest.raises(InputError, match="not a regular expression"):
        methods.build("rmu", {"modules": "("})
