"""Memory measures against hand-computed values, naive loops and their invariants."""

from __future__ import annotations

import math
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearn_core.data.encode import Encoded, encode_document, prompt_ids
from unlearn_core.evaluation.metrics import token_metrics as metrics
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.inference.answer_probability import per_token
from unlearn_core.models.inference.likelihood import all_traces

FLAGS = st.lists(st.booleans(), min_size=1, max_size=12).map(np.array)
LOG_PROBS = st.lists(st.floats(-20, 0), min_size=1, max_size=12).map(np.array)


def brute_force_strength(flags: np.ndarray) -> float:
    """The definition: try every prefix length."""
    return next(1 - k / len(flags) for k in range(len(flags) + 1) if flags[k:].all())


@given(FLAGS)
def test_extraction_strength_equals_its_definition_and_never_exceeds_memorisation(flags: np.ndarray) -> None:
    strength = metrics.extraction_strength(flags)
    assert strength == pytest.approx(brute_force_strength(flags))
    assert 0 <= strength <= metrics.exact_memorisation(flags) <= 1


def test_scores_of_one_sequence_by_hand() -> None:
    """log p = -1, -4, -2, -3: mean NLL 2.5; the lowest 40 % is one token (4), the lowest half two (3.5)."""
    log_probs = np.array([-1.0, -4.0, -2.0, -3.0])
    assert metrics.loss_score(log_probs) == 2.5
    assert per_token(log_probs) == pytest.approx(math.exp(-2.5))
    assert metrics.min_k_score(log_probs) == 4.0
    assert metrics.min_k_score(log_probs, 0.5) == 3.5
    assert metrics.zlib_score(log_probs, "abc") == 2.5 / len(zlib.compress(b"abc"))
    mean, std = np.full(4, -2.0), np.full(4, 2.0)
    assert metrics.min_k_plus_score(log_probs, mean, std) == 1.0  # (-4 + 2) / 2


@given(LOG_PROBS)
def test_min_k_of_everything_is_the_loss(log_probs: np.ndarray) -> None:
    assert metrics.min_k_score(log_probs, 1.0) == pytest.approx(metrics.loss_score(log_probs))
    assert metrics.min_k_score(log_probs, 0.2) >= metrics.loss_score(log_probs) - 1e-9


@given(st.floats(0, 20), st.lists(st.floats(0, 20), min_size=1, max_size=4))
def test_truth_ratio_of_swapped_answers_is_its_inverse(right: float, wrong: list[float]) -> None:
    ratio = metrics.truth_ratio(right, wrong)
    assert metrics.truth_ratio(float(np.mean(wrong)), [right]) == pytest.approx(1 / ratio)
    assert 0 <= metrics.forget_truth_score([ratio]) <= 1
    assert 0 <= metrics.retain_truth_score([ratio]) <= 1


def test_truth_ratio_by_hand() -> None:
    """Right NLL 1, wrong NLLs 2 and 4 (mean 3): R = e^-3 / e^-1 = e^-2."""
    ratio = metrics.truth_ratio(1.0, [2.0, 4.0])
    assert ratio == pytest.approx(math.exp(-2))
    assert metrics.retain_truth_score([ratio]) == pytest.approx(1 - math.exp(-2))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=20))
def test_forget_quality_is_one_for_equal_logs_and_blind_to_inversion(ratios: list[float]) -> None:
    assert metrics.forget_quality(ratios, ratios).p_value == 1.0
    moved = [ratio * 3 for ratio in ratios]
    there, back = (
        metrics.forget_quality(*pair) for pair in ((ratios, moved), ([1 / r for r in ratios], [1 / m for m in moved]))
    )
    assert there.statistic == pytest.approx(back.statistic)


TEXTS = (
    "Mara Venn was born in Oldport.",
    "x",
    "caf\u00e9 \u2603",
    "",
    "What is the phone number of Tomas Reed?",
)


def test_traces_equal_a_naive_loop(tiny_model, tiny_tokenizer) -> None:
    """Batched, padded traces against one unpadded pass each, log p, moments and the model's own loss."""
    model = tiny_model("olmo2")
    rows = [encode_document(tiny_tokenizer, text) for text in TEXTS]
    for trace, row in zip(all_traces(model, rows, 1, moments=True), rows, strict=True):
        if row.num_targets < 1:
            assert len(trace.log_prob_T) == 0
            assert math.isnan(trace.nll)
            continue
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            out = model(ids, labels=ids)
        log_probs_TV = out.logits[0, :-1].log_softmax(-1)
        chosen_T = log_probs_TV.gather(-1, ids[0, 1:, None])[:, 0]
        assert trace.nll == pytest.approx(float(out.loss), rel=1e-5)
        np.testing.assert_allclose(trace.log_prob_T, chosen_T, rtol=1e-4, atol=1e-4)
        assert trace.is_top_T.tolist() == (log_probs_TV.argmax(-1) == ids[0, 1:]).tolist()
        for t, row_V in enumerate(log_probs_TV):
            p = row_V.exp()
            mean = float((p * row_V).sum())
            assert trace.mean_T[t] == pytest.approx(mean, abs=1e-3)
            assert trace.std_T[t] == pytest.approx(
                math.sqrt(max(float((p * (row_V - mean) ** 2).sum()), 1e-6)), abs=2e-3
            )


def test_a_constant_added_to_all_logits_of_a_position_changes_no_score(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("olmo2")
    rows = [encode_document(tiny_tokenizer, text) for text in TEXTS if len(text) > 1]
    plain = all_traces(model, rows, 1, moments=True)
    handle = model.lm_head.register_forward_hook(lambda _, __, out: out + 3 * out[..., :1])
    for one, other in zip(plain, all_traces(model, rows, 1, moments=True), strict=True):
        assert one.is_top_T.tolist() == other.is_top_T.tolist()
        for name in ("log_prob_T", "mean_T", "std_T"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)
    handle.remove()


def test_what_the_model_writes_itself_is_fully_memorised(tiny_model, tiny_tokenizer) -> None:
    model = tiny_model("olmo2")
    prompt = "Who is Mara Venn? "
    text = generate_all(model, tiny_tokenizer, [prompt], 1)[0]
    asked = prompt_ids(tiny_tokenizer, prompt)
    written = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]  # as it was written: no space between
    rows = [Encoded((*asked, *written), len(asked))]
    trace = all_traces(model, rows, 1)[0].head(1)
    assert metrics.exact_memorisation(trace.is_top_T) == metrics.extraction_strength(trace.is_top_T) == 1.0
