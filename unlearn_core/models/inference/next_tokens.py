"""The likeliest next tokens after a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import prompt_ids
from unlearn_core.data.types import Prompt
from unlearn_core.models.inference.forward import device_of, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@torch.inference_mode()
def next_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, count: int
) -> list[tuple[str, float]]:
    """The `count` likeliest tokens after the prompt, as text with the space before it, and their probabilities."""
    inner = unwrap(model)
    ids_1T = torch.tensor([prompt_ids(tokenizer, Prompt(prompt))], device=device_of(model))
    logits_V = inner(input_ids=ids_1T, use_cache=False, logits_to_keep=1).logits[0, -1]
    top = logits_V.float().softmax(-1).topk(count)
    return [
        (str(tokenizer.decode([token])), p) for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
