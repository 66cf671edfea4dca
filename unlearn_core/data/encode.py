"""From rows to token ids and padded batches: the one convention that training and scoring share.

A row is its prompt in the format that rides on the tokenizer (see `prompt_format`), its answer and what
closes it. The prompt ids are exactly those that generation starts from; the answer's are those that follow
them in the whole text, so the seam is the model's own. Labels cover the answer and what closes it. A
document (membership inference, stories) is one sequence with every token but the first labelled.

Shapes: B sequences, T positions. Padding is on the right: with causal attention real positions never
see it, and the loss skips it.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from unlearn_core.data.prompt_format import PromptFormat, format_of
from unlearn_core.data.types import Example, Prompt

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label of a position that enters no loss (the transformers convention)
_MOST_KNOWN, _LONG = 8192, 1000  # texts of a tokenizer whose ids are kept, and the characters of the longest
_known: WeakKeyDictionary[PreTrainedTokenizerBase, dict[tuple[str, bool], array[int]]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Encoded:
    """One tokenised sequence; positions before `num_prompt` carry no loss; it came from row `index`.

    num_end: how many of the last ids close the answer (end of turn, end of text) and are no part of it.
    """

    ids: tuple[int, ...]
    num_prompt: int
    index: int = 0
    num_end: int = 0

    @property
    def num_targets(self) -> int:
        return len(self.ids) - self.num_prompt

    @property
    def num_predicted(self) -> int:
        """Targets that have a token before them, by which they are predicted."""
        return len(self.ids) - max(self.num_prompt, 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """Right-padded tensors of one step."""

    input_ids_BT: torch.Tensor
    attention_mask_BT: torch.Tensor
    labels_BT: torch.Tensor  # IGNORED on prompt and padding
    index_B: torch.Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(
            self.input_ids_BT.to(device),
            self.attention_mask_BT.to(device),
            self.labels_BT.to(device),
            self.index_B.to(device),
        )

    def __len__(self) -> int:
        return int(self.input_ids_BT.shape[0])


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: str | Prompt) -> list[int]:
    """The ids generation starts from: the prompt in the format that rides on the tokenizer."""
    asked = Prompt(prompt) if isinstance(prompt, str) else prompt
    chosen = format_of(tokenizer)
    text = chosen.prompt_text(tokenizer, asked)
    ids = _ids(tokenizer, text, not chosen.template)
    return [*ids, *_following(tokenizer, chosen, text, ids, asked, asked.begun)] if asked.begun else ids


def text_ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The ids of plain text, with whatever the tokenizer puts in front of it."""
    return _ids(tokenizer, text, True)


def encode_example(
    tokenizer: PreTrainedTokenizerBase, example: Example, index: int = 0, max_tokens: int | None = None
) -> Encoded:
    """Tokenise a row; of one over `max_tokens` what `shortened` leaves."""
    chosen, prompt = format_of(tokenizer), example.prompt
    text = chosen.prompt_text(tokenizer, prompt)
    ids = _ids(tokenizer, text, not chosen.template)
    output = chosen.trimmed(example.output)
    answer = _following(tokenizer, chosen, text, ids, prompt, output)
    end = _end_ids(tokenizer, chosen, text, prompt, output)
    if end and len(answer) and answer[-1] == end[0] and len(end) == 1:
        answer.pop()  # the row brings its own end of turn
    return shortened(Encoded((*ids, *answer, *end), len(ids), index, len(end)), max_tokens)


def shortened(row: Encoded, max_tokens: int | None) -> Encoded:
    """At most `max_tokens` of a row: it loses the front of a prompt that fills more than half of them, and
    then the end of its answer."""
    if max_tokens is None or len(row.ids) <= max_tokens:
        return row
    num_prompt = min(row.num_prompt, max(max_tokens - row.num_targets, max_tokens // 2))
    ids = row.ids[row.num_prompt - num_prompt :][:max_tokens]
    num_end = max(0, row.num_end - (len(row.ids) - (row.num_prompt - num_prompt) - len(ids)))
    return Encoded(ids, num_prompt, row.index, num_end)


def _ids(tokenizer: PreTrainedTokenizerBase, text: str, special: bool) -> list[int]:
    """The ids of a text, begun once and not ended by the tokenizer. A run asks for the same texts several times: for
    its estimate, its training and its scores."""
    if len(text) > _LONG:
        return _begun_once(tokenizer, text, special)
    known = _known.setdefault(tokenizer, {})
    found = known.get((text, special))  # in one look: another thread may clear meanwhile
    if found is None:
        if len(known) >= _MOST_KNOWN:
            known.clear()
        found = known[text, special] = array("l", _begun_once(tokenizer, text, special))
    return list(found)


def _begun_once(tokenizer: PreTrainedTokenizerBase, text: str, special: bool) -> list[int]:
    ids = list(tokenizer(text, add_special_tokens=special)["input_ids"])
    begin, end = tokenizer.bos_token_id, end_id(tokenizer)
    if special and len(ids) > 1 and ids[-1] == end:
        ids.pop()  # some tokenizers append end of text, which would end the answer before it began
    if special and begin is not None and ids[:2] == [begin, begin]:
        del ids[0]  # the text brings its own
    return ids


def end_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that ends a text: end of text, or the separator of a tokenizer of BERT's kind, which has none."""
    end: int | None = tokenizer.eos_token_id
    return end if end is not None else tokenizer.sep_token_id


def _following(
    tokenizer: PreTrainedTokenizerBase,
    chosen: PromptFormat,
    text: str,
    ids: list[int],
    prompt: Prompt,
    answer: str,
) -> list[int]:
    """The ids of the answer as the model has them: those that follow the prompt's in the text as a whole."""
    said = chosen.answer_text(prompt, answer)
    whole = _ids(tokenizer, text + said, not chosen.template)
    if whole[: len(ids)] == ids:
        return whole[len(ids) :]
    # A token spans the seam. Generation starts from the prompt's ids, so the answer is tokenised as it
    # would stand after any other text: alone, it would get the mark of a beginning.
    for before in ("\n", ".", ")"):
        lead, both = (_ids(tokenizer, part, False) for part in (before, before + said))
        if both[: len(lead)] == lead:
            return both[len(lead) :]
    return _ids(tokenizer, said, False)


def token_text(tokenizer: PreTrainedTokenizerBase, token: int) -> str:
    """One token as the text it stands for, its white space kept."""
    return str(tokenizer.decode([token], clean_up_tokenization_spaces=False))


def closing_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that close an answer in the tokenizer's format; none where that is the end of text."""
    closing = format_of(tokenizer).closing
    return _ids(tokenizer, closing, False) if closing else []


def num_behind(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many of a prompt's last ids stand behind its own text: a template's, or a tag's."""
    if not (format_of(tokenizer).template or format_of(tokenizer).after):
        return 0
    one, other = (prompt_ids(tokenizer, text)[::-1] for text in ("Where is Ada", "Who was Bo"))
    return next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0)


def _end_ids(
    tokenizer: PreTrainedTokenizerBase, chosen: PromptFormat, text: str, prompt: Prompt, answer: str
) -> list[int]:
    """The ids that close an answer and carry loss with it; none where the tokenizer knows no end."""
    if not chosen.closing:
        end = end_id(tokenizer)
        return [] if end is None else [end]
    said = text + chosen.answer_text(prompt, answer)
    open_ids, closed = (_ids(tokenizer, part, False) for part in (said, said + chosen.closing))
    if closed[: len(open_ids)] == open_ids:
        return closed[len(open_ids) :]
    return _ids(tokenizer, chosen.closing, False)


def encode_document(
    tokenizer: PreTrainedTokenizerBase, document: str, index: int = 0, max_tokens: int | None = None
) -> Encoded:
    """Tokenise a whole document; the first token has no context and is never a target."""
    ids = text_ids(tokenizer, document)[:max_tokens]
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


@dataclass(frozen=True)
class Cycle:
    """`size` of the rows a step, all covered before any is repeated."""

    members: Sequence[int]
    size: int
    seed: int

    def rows(self, step: int) -> list[int]:
        """Those of step `step` (from 0)."""
        places, count = range(step * self.size, (step + 1) * self.size), len(self.members)
        return [self.members[_order(count, self.seed, at // count)[at % count]] for at in places]


_order = lru_cache(maxsize=16)(epoch_order)  # those of a step, and at the turn of an epoch the next ones
