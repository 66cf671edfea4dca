"""The likeliest next tokens, against the probabilities of the whole vocabulary."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from unlearn_core.knowledge.find import next_tokens


@pytest.mark.parametrize("arch", ["olmo2", "llama", "gpt_neox"])
def test_they_are_the_models_own(arch: str, tiny_model: Any, tiny_tokenizer: Any) -> None:
    model, prompt = tiny_model(arch), "Who wrote it?"
    with torch.no_grad():
        logits_V = model(torch.tensor([tiny_tokenizer(prompt)["input_ids"]])).logits[0, -1]
    likeliest = sorted(enumerate(logits_V.softmax(-1).tolist()), key=lambda pair: -pair[1])[:3]
    expected = [(tiny_tokenizer.decode([token]), pytest.approx(p, rel=1e-4)) for token, p in likeliest]
    assert next_tokens(model, tiny_tokenizer, prompt, 3) == expected
