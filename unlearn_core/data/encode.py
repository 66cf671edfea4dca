"""From rows to token ids and padded batches: the one convention that training and scoring share.

A row is `input`, one space, `output`, end of text; prompt and answer are tokenised apart, so the
prompt ids are exactly those that generation starts from. Labels cover the answer only. A document
(membership inference, stories) is one sequence with every token but the first labelled.

Shapes: B sequences, T positions. Padding is on the right: with causal attention real positions never
see it, and the loss skips it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn_core.data.types import Example

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a position that enters no loss (the transformers convention)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised sequence; positions before `num_prompt` carry no loss; it came from row `index`."""

    ids: tuple[int, ...]
    num_prompt: int
    index: int = 0

    @property
    def num_targets(self) -> int:
        return len(self.ids) - self.num_prompt


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded tensors of one step."""

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    labels_BT: torch.Tensor  # IGNORED on prompt and padding
    index_B: torch.Tensor

    def to(self, device: Any) -> Batch:
        return Batch(
            self.input_ids_BT.to(device),
            self.attention_mask_BT.to(device),
            self.labels_BT.to(device),
            self.index_B.to(device),
        )

    def __len__(self) -> int:
        return int(self.input_ids_BT.shape[0])


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """The ids generation starts from: the raw prompt, with whatever the tokenizer puts in front of it."""
    ids = list(tokenizer(prompt)["input_ids"])
    if len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:
        ids.pop()  # some tokenizers append end of text, which would end the answer before it began
    return ids


def answer_text(prompt: str, answer: str) -> str:
    """The answer as it follows the prompt: one space between them unless either brings its own."""
    glued = not prompt or prompt[-1].isspace() or answer[:1].isspace()
    return answer if glued else " " + answer


def encode_example(
    tokenizer: PreTrainedTokenizerBase, example: Example, index: int = 0, max_tokens: int | None = None
) -> Encoded:
    """Tokenise a row; a row over `max_tokens` loses the front of its prompt, then the end of its answer."""
    prompt = prompt_ids(tokenizer, example.input)
    text = answer_text(example.input, example.output)
    answer = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if tokenizer.eos_token_id is not None:
        answer.append(tokenizer.eos_token_id)
    if max_tokens is not None and len(prompt) + len(answer) > max_tokens:
        answer = answer[: max_tokens - 1]
        prompt = prompt[-(max_tokens - len(answer)) :]
    return Encoded((*prompt, *answer), len(prompt), index)


def encode_document(
    tokenizer: PreTrainedTokenizerBase, document: str, index: int = 0, max_tokens: int | None = None
) -> Encoded:
    """Tokenise a whole document; the first token has no context and is never a target."""
    ids = prompt_ids(tokenizer, document)[:max_tokens]
    return Encoded(tuple(ids), 1, index)


def collate(rows: Sequence[Encoded], pad_id: int) -> Batch:
    """Right-pad `rows` into one Batch."""
    import torch

    width = max(len(row.ids) for row in rows)
    shape = (len(rows), width)
    input_ids = torch.full(shape, pad_id, dtype=torch.long)
    attention_mask = torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, IGNORED, dtype=torch.long)
    for i, row in enumerate(rows):
        ids = torch.tensor(row.ids, dtype=torch.long)
        input_ids[i, : len(ids)] = ids
        attention_mask[i, : len(ids)] = 1
        labels[i, row.num_prompt : len(ids)] = ids[row.num_prompt :]
    return Batch(input_ids, attention_mask, labels, torch.tensor([row.index for row in rows]))


def pad_id_of(tokenizer: PreTrainedTokenizerBase) -> int:
    """The padding id; end of text or 0 where a tokenizer has none (padding never enters a loss)."""
    for token_id in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return int(token_id)
    return 0


def epoch_order(num_rows: int, seed: int, epoch: int) -> list[int]:
    """A permutation that depends only on `seed` and `epoch`, so a resumed run sees the same data."""
    order = list(range(num_rows))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
