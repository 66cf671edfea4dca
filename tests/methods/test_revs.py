"""REVS: where a token ends in an edited neuron, in a layer and in the model's own predictions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr

from unlearn_core import methods
from unlearn_core.data.encode import Encoded, collate, encode_example
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.progress import ResultIterator
from unlearn_core.methods.weights.revs import DemotionTarget, rarest
from unlearn_core.models.inference.forward import answers, token_nll
from unlearn_core.models.inference.vocabulary import VocabularySpace
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep

ARCHS = ["olmo", "olmo2", "llama", "qwen2"]


@pytest.fixture(params=[(arch, tied) for arch in ARCHS for tied in (True, False)], ids=str)
def any_model(request: Any, tiny_model: Callable[..., Any]) -> Any:
    arch, tied = request.param
    model = tiny_model(arch, tie_word_embeddings=tied)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 2.0)  # gains that matter
    return model


def test_an_edited_neuron_ranks_the_token_exactly_where_it_was_asked_to(any_model: Any) -> None:
    space, token, wanted = VocabularySpace(any_model), 7, 240
    weight_DN = any_model.model.layers[0].mlp.down_proj.weight.detach()
    behind = getattr(any_model.model.layers[0], "post_feedforward_layernorm", torch.nn.Identity())
    old_ND = weight_DN.T[:20]
    with torch.no_grad():
        new_ND = space.demoted(old_ND, token, wanted, getattr(behind, "weight", None))
        before_N, after_N = (space.rank(behind(each), token) for each in (old_ND, new_ND))
        logits = [space.read(behind(each)) for each in (old_ND, new_ND)]
    low_N = before_N >= wanted
    assert 0 < low_N.sum() < 20
    assert (after_N[~low_N] == wanted).all()
    assert torch.equal(new_ND[low_N], old_ND[low_N])
    assert min(others_order(space, token, *logits)) > 0.8


def others_order(space: VocabularySpace, token: int, *logits_NV: torch.Tensor) -> list[float]:
    """Spearman's rank correlation of all tokens but one, before and after, for each neuron."""
    others = torch.arange(space.size) != token
    return [spearmanr(old_V[others], new_V[others]).statistic for old_V, new_V in zip(*logits_NV, strict=True)]


@pytest.mark.parametrize("arch", ARCHS)
def test_the_other_tokens_keep_their_order(tiny_model: Callable[..., Any], arch: str) -> None:
    """At the bundled model's width; with 32 values for 320 tokens, one cannot move without some others."""
    space, token = VocabularySpace(tiny_model(arch, hidden_size=128, vocab_size=3584)), 7
    old_ND = torch.randn(20, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = [space.read(each) for each in (old_ND, space.demoted(old_ND, token, 3200))]
    assert min(others_order(space, token, *logits)) > 0.95


def test_the_direction_is_the_tokens_column_of_the_pseudo_inverse(tiny_model: Callable[..., Any]) -> None:
    """Where nothing but the token's logit is asked to change, by least squares over the whole head."""
    model = tiny_model("llama")
    space, old_D = VocabularySpace(model), torch.randn(1, 32, generator=torch.Generator().manual_seed(0))
    moved_D = (space.demoted(old_D, 3, 300) - old_D)[0].detach()
    column_D = torch.linalg.pinv(model.lm_head.weight.detach())[:, 3]
    assert torch.cosine_similarity(moved_D, -column_D, dim=0) > 1 - 1e-5
    back_D = torch.linalg.pinv(model.lm_head.weight) @ (model.lm_head.weight @ old_D[0])
    torch.testing.assert_close(back_D, old_D[0], atol=1e-5, rtol=1e-5)


def test_the_rarest_tokens_are_the_ones_a_tokenizer_learnt_last() -> None:
    row = Encoded((5, 6, 9, 2, 8, 0), 2)
    assert rarest(row, 2) == [DemotionTarget((5, 6), 9), DemotionTarget((5, 6, 9, 2), 8)]
    assert [target.token for target in rarest(row, 9)] == [9, 2, 8, 0]


@pytest.mark.parametrize("arch", ARCHS)
def test_secrets_fall_far_down_and_come_back_with_the_weights(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, arch: str
) -> None:
    """A model that knows six numbers by heart forgets two of them, and not the rest."""
    secret = [Example(f"f{n}qa1", f"The number of person {n} is", f"\u2603 {n}{n}") for n in range(2)]
    public = [Example(f"r{n}qa1", f"The trade of person {n} is", f"baker {n}") for n in range(4)]
    model = tiny_model(arch, num_hidden_layers=3)
    memorise(model, tiny_tokenizer, [*secret, *public])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    method: Any = methods.build("revs", {"max_tokens": 1, "neurons": 64, "neuron_rank": 0.9, "rank": 0.3})
    targets = [rarest(encode_example(tiny_tokenizer, row), 1)[0] for row in secret]
    known = chances(model, targets)
    others = [first(tiny_tokenizer, row) for row in public]
    kept = chances(model, others)
    assert min(known + kept) > 0.8
    run = ResultIterator(unlearn(model, tiny_tokenizer, UnlearningData("numbers", tuple(secret)), method))
    records, artifact = list(run), run.result
    assert max(chances(model, targets)) < 0.2
    assert sum(chances(model, others)) > 0.8 * sum(kept)
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.endswith("down_proj.weight") for key in changed)
    for key in changed:
        assert (model.get_parameter(key) != before[key]).any(0).sum() <= method.neurons * len(targets)
    steps = [record for record in records if isinstance(record, LoopStep)]
    assert len(steps) == len(set(targets))
    assert steps[-1].losses["forget"] == pytest.approx(-math.log(chances(model, targets)[-1]), rel=1e-3)
    artifact.revert()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def memorise(model: Any, tokenizer: Any, rows: list[Example]) -> None:
    batch = collate([encode_example(tokenizer, row) for row in rows], 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(50):
        optimiser.zero_grad()
        token_nll(answers(model, batch)).mean().backward()
        optimiser.step()
    model.zero_grad()


def first(tokenizer: Any, row: Example) -> DemotionTarget:
    encoded = encode_example(tokenizer, row)
    return DemotionTarget(encoded.ids[: encoded.num_prompt], encoded.ids[encoded.num_prompt])


def chances(model: Any, targets: list[DemotionTarget]) -> list[float]:
    """Probability of each token after its prefix."""
    with torch.no_grad():
        rows = [model(torch.tensor([each.prefix])).logits[0, -1].softmax(-1) for each in targets]
    return [float(row_V[each.token]) for row_V, each in zip(rows, targets, strict=True)]
