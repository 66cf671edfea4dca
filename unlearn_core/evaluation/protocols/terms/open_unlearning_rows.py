"""A row as open-unlearning puts it to a model (`src/data/utils.py` and its collator, commit d3d7cf9).

Three things differ from ours, and change losses and texts:
- The tag's last space is a token of the prompt. Where the vocabulary joins it to a word, the prompt alone has a token
  more than it has before the answer, and the answer's first word carries no loss.
- What a template writes behind the token that ends a turn (a line break) carries loss, and end of text after it.
- Tokens of a prompt that equal the padding are hidden. Padding is end of text where a tokenizer has none (its
  issue 128), so a template that ends turns in end of text loses those ends.
N: labelled tokens, V: vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import Encoded, encode_example, pad_id_of, text_ids
from unlearn_core.data.prompt_format import format_of, render
from unlearn_core.data.types import Example, Prompt
from unlearn_core.models.generation.generate import continue_all
from unlearn_core.models.inference.forward import device_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_TOKENS = 512  # of a prompt between tags, its answer counted; a template's is never cut


def has_theirs(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the tokenizer's format is one that open-unlearning has: a chat template, or tags."""
    chosen = format_of(tokenizer)
    return bool(chosen.template or chosen.after)


def encode_theirs(tokenizer: PreTrainedTokenizerBase, row: Example, index: int = 0) -> Encoded:
    """A question with its answer; formats that open-unlearning does not have stay ours."""
    if not has_theirs(tokenizer):
        return encode_example(tokenizer, row, index)
    chosen, prompt, end = format_of(tokenizer), row.prompt, tokenizer.eos_token_id
    if chosen.template:
        ids = _plain(tokenizer, render(tokenizer, chosen, prompt, row.output))
    else:
        text = chosen.prompt_text(tokenizer, prompt) + chosen.answer_text(prompt, row.output)
        ids = text_ids(tokenizer, text)[:MAX_TOKENS]
    if end is not None and ids[-1:] != [end]:
        ids.append(end)
    return Encoded(tuple(ids), min(len(their_prompt_ids(tokenizer, prompt)), len(ids)), index)


def their_prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """The ids that generation starts from, in a format that open-unlearning has."""
    chosen = format_of(tokenizer)
    if chosen.template:
        return _plain(tokenizer, render(tokenizer, chosen, prompt))
    return text_ids(tokenizer, chosen.prompt_text(tokenizer, prompt) + chosen.opening)[:MAX_TOKENS]


def continue_theirs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], max_new_tokens: int
) -> list[list[int]]:
    """The greedy tokens after each prompt."""
    pad = pad_id_of(tokenizer)
    rows = [their_prompt_ids(tokenizer, prompt) for prompt in prompts]
    if not any(pad in row for row in rows):
        return continue_all(model, tokenizer, rows, max_new_tokens)
    return [_continue_hidden(model, row, pad, max_new_tokens) for row in rows]


def hidden_logits(model: PreTrainedModel, row: Encoded, pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (N, V) of the labelled tokens and the tokens (N,), of a pass that hides every token equal to `pad`."""
    ids = torch.tensor([row.ids], device=device_of(model))
    logits_TV = model(input_ids=ids, attention_mask=(ids != pad).long(), use_cache=False).logits[0].float()
    return logits_TV[row.num_prompt - 1 : -1], ids[0, row.num_prompt :]


def _continue_hidden(model: Any, row: Sequence[int], pad: int, max_new_tokens: int) -> list[int]:
    ids = torch.tensor([list(row)], device=device_of(model))
    seen = {"attention_mask": (ids != pad).long(), "pad_token_id": pad}
    found: list[int] = model.generate(ids, max_new_tokens=max_new_tokens, do_sample=False, **seen)[0].tolist()
    return found[len(row) :]


def _plain(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of a rendered template, which brings its own beginning."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
