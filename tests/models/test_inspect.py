"""The gold answer from inside a model: probabilities, ranks and layers against a plain forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from unlearn_core.errors import InputError
from unlearn_core.models.inference.inspect import inspect_answer


@pytest.mark.parametrize("arch", ["olmo", "olmo2", "llama", "gpt_neox"])
def test_tokens_and_the_last_layer_agree_with_the_models_own_logits(
    tiny_model: Callable[..., Any], tiny_tokenizer: Any, arch: str
) -> None:
    model = tiny_model(arch)
    found = inspect_answer(model, tiny_tokenizer, "Who is Bo?", "a baker")
    prompt, answer = tiny_tokenizer("Who is Bo?")["input_ids"], tiny_tokenizer(" a baker")["input_ids"]
    with torch.no_grad():
        logits_TV = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    log_probs_TV = logits_TV.log_softmax(-1)
    for place, (token, seen) in enumerate(zip(answer, found.tokens, strict=True)):
        assert seen.probability == pytest.approx(float(log_probs_TV[place, token].exp()), rel=1e-4)
        order = log_probs_TV[place].argsort(descending=True).tolist()
        assert seen.rank == order.index(token) + 1
        assert seen.alternatives[0][1] == pytest.approx(float(log_probs_TV[place].max().exp()), rel=1e-4)
    chances = [seen.probability for seen in found.tokens]
    assert found.probability == pytest.approx(math.prod(chances), rel=1e-4)
    assert "".join(seen.text for seen in found.tokens) == " a baker"
    assert len(found.layers) == 3  # embeddings and two layers
    assert found.layers[-1] == pytest.approx(found.per_token, rel=1e-4)  # normed once, not twice


def test_an_answer_without_words_is_explained(tiny_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    with pytest.raises(InputError, match="has no words"):
        inspect_answer(tiny_model(), tiny_tokenizer, "Who?", "")
