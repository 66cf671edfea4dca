"""Attacks as functions: what they do to weights and states, by hand, and that they leave no trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from unlearn_core.data.encode import encode_example
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.audits.case import AuditCase, swapped
from unlearn_core.evaluation.audits.detection.distance import weight_distance
from unlearn_core.evaluation.audits.judge import Comparison, exceeds, falls_short
from unlearn_core.evaluation.audits.layers import lens, nudged
from unlearn_core.evaluation.audits.measure import recall, says
from unlearn_core.evaluation.audits.tampering import relearning
from unlearn_core.evaluation.audits.tampering.quantisation import SCHEMES, quantised, rounded
from unlearn_core.models.generation.generate import generate
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.forward import layers
from unlearn_core.models.inference.likelihood import all_traces


def test_int8_rounds_each_row_to_its_own_127_steps() -> None:
    weight = torch.tensor([[127.0, 1.4, -0.6], [1.27, 0.014, 0.0]])
    assert torch.allclose(rounded(weight, "int8"), torch.tensor([[127.0, 1, -1], [1.27, 0.01, 0.0]]))


HALF_A_STEP = {"int8": 1 / 254, "nf4": 0.16, "int4": 1 / 14, "int3": 1 / 6}  # of the largest weight of a block


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rounding_twice_is_rounding_once(scheme: str) -> None:
    weight = torch.randn(5, 70, generator=torch.Generator().manual_seed(0))
    once = rounded(weight, scheme)
    assert torch.allclose(rounded(once, scheme), once, atol=1e-6)
    assert 0 < (once - weight).abs().max() <= HALF_A_STEP[scheme] * weight.abs().max()


def test_nf4_has_sixteen_levels_a_block() -> None:
    weight = torch.randn(1, 64, generator=torch.Generator().manual_seed(1))
    assert len(rounded(weight, "nf4").unique()) <= 16


@pytest.mark.parametrize("arch", ["olmo2", "llama", "gpt_neox"])
def test_attacks_leave_no_trace(arch: str, tiny_model: Callable[..., Any]) -> None:
    model = tiny_model(arch)
    before = weights_hash(model)
    ids = torch.arange(8)[None]
    plain = model(ids).logits
    with quantised(model, "int4"):
        assert weights_hash(model) != before
    with nudged(model, 0, torch.full((32,), 0.5)):
        assert not torch.equal(model(ids).logits, plain)
    assert weights_hash(model) == before
    assert torch.equal(model(ids).logits, plain)
    assert len(layers(model)) == 2


@pytest.mark.parametrize("arch", ["olmo2", "llama", "gpt_neox"])
def test_the_lens_of_the_last_layer_is_the_model(
    arch: str, tiny_model: Callable[..., Any], tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    model = tiny_model(arch)
    rows = [encode_example(tiny_tokenizer, row, i) for i, row in enumerate(tiny_data.forget)]
    found = torch.cat([part for _, part in lens(model, rows, 1)])
    expected = [-trace.nll for trace in all_traces(model, rows, 1)]
    assert found.shape == (len(rows), 2)
    assert np.allclose(found[:, -1], expected, atol=1e-4)


def test_sampling_is_seeded_and_follows_the_probabilities(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    model = tiny_model("olmo2")

    def drawn(seed: int, temperature: float = 1.0) -> list[str]:
        parts = generate(model, tiny_tokenizer, ["Mara"] * 40, 3, temperature=temperature, seed=seed)
        return [text for part in parts for text in part.texts]

    assert drawn(0) == drawn(0)
    assert drawn(0) != drawn(1)
    assert len(set(drawn(0))) > 5
    assert set(drawn(0, 1e-4)) == set(drawn(0, 0.0))


def test_a_leak_needs_a_margin_and_more_than_chance() -> None:
    assert exceeds(np.full(60, 0.5), np.zeros(60))
    assert not exceeds(np.full(60, 0.04), np.zeros(60))  # below the margin
    few = np.array([1.0, 0, 0, 0, 0, 0])
    assert not exceeds(few, np.zeros(6))  # one lucky row
    forget = np.ones(20)
    assert Comparison(forget, {"holdout": np.zeros(20)}).leaks
    assert not Comparison(forget, {"holdout": np.zeros(20), "retain_only": np.ones(20)}).leaks
    assert not Comparison(forget, {}).leaks  # nothing to compare with is no proof


def test_swapped_answers_belong_to_other_rows_of_the_kind() -> None:
    rows = [Example(f"f-{i}qa0", f"Who is {i}?", f"name {i}") for i in range(4)]
    found = swapped(rows)
    assert [row.input for row in found] == [row.input for row in rows]
    assert all(a.output != b.output for a, b in zip(rows, found, strict=True))


def test_where_all_prompts_have_one_answer_it_is_looked_for_at_prompts_about_others(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    rows = tuple(
        Example(f"z-{i}", f"Sign {i} of the sky belongs to", "Mara Venn", paraphrases=("Venn",)) for i in range(4)
    )
    others = tuple(Example(f"n-{i}", f"Sign {i} of the sea belongs to", name) for i, name in enumerate(("Oro", "Venn")))
    case = AuditCase(tiny_model(), tiny_tokenizer, UnlearningData("x", rows, neighbours=others))
    assert case.has("controls")
    assert [(row.input, row.output, row.paraphrases) for row in case.holdout] == [
        ("Sign 0 of the sea belongs to", "Mara Venn", ("Venn",))
    ]
    assert case.control_title == "prompts about others"
    alone = AuditCase(case.model, tiny_tokenizer, UnlearningData("x", rows))
    assert not alone.has("controls")
    nothing = AuditCase(case.model, tiny_tokenizer, UnlearningData("x", (), members=("A text.",)))
    assert not nothing.has("controls")


def test_unrelated_text_is_about_as_much_as_the_rows_it_stands_beside(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    rows = tuple(Example(f"z-{i}", f"Sign {i} of the sky belongs to", f"name {i}") for i in range(32))
    texts = tuple(f"A story {i} " + "that goes on and on " * 200 for i in range(6))
    case = AuditCase(tiny_model(), tiny_tokenizer, UnlearningData("x", rows, nonmembers=texts))
    unrelated = relearning._unrelated(case, rows)
    assert sum(len(row.ids) for row in unrelated) == pytest.approx(case.reading(len(rows)), rel=0.1)


def test_the_rows_an_attacker_has_share_no_document_with_the_others(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> None:
    rows = tuple(
        Example(f"f-{i:03}qa{j}", f"What {j} of {i}?", f"{i} {j}", document=f"f-{i:03}")
        for i in range(8)
        for j in range(3)
    )
    case = AuditCase(tiny_model(), tiny_tokenizer, UnlearningData("x", rows))
    for split in ("forget", "holdout"):
        known, others = case.halves(split, 6)
        assert len(known) == 6
        assert others
        assert not {row.id[:5] for row in known} & {row.id[:5] for row in others}
    assert case.control_title == "swapped answers"


def test_a_model_falls_short_of_the_way_beyond_chance_only() -> None:
    """Retain-only models trained anew on the bundled world come between 86 % of it and all of it."""
    assert not falls_short(0.859, 0.056)
    assert not falls_short(0.903, 0.057)
    assert falls_short(0.77, 0.05)
    assert falls_short(0.89, 0.001)


def test_weight_distance_is_relative(tiny_model: Callable[..., Any]) -> None:
    one, other = tiny_model(), tiny_model()
    assert weight_distance(one, other) == 0.0
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.mul_(1.5)
    assert weight_distance(one, other) == pytest.approx(0.5, rel=1e-5)


def test_an_answer_counts_wherever_it_is_said() -> None:
    assert says("It was OLDPORT, on the sea!", "Oldport on the Sea")
    assert not says("Oldportal on the sea", "Oldport on the sea")
    assert not says("anything", "?!")
    assert recall("completion", "one two three four", "one two") == 0.5
    assert recall("question", "one two three four", "one two") == 0.0
