"""Which format a model is asked in: chosen from its tokenizer and the data, or by asking the model itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unlearn_core.data import prompt_format
from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.prompt_format import PromptFormat, format_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.models.inference.likelihood import all_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_ROWS = 8  # asked where the data cannot tell
_MAX_TOKENS = 256
# Mean probability per answer token (0..1).
_CLEARLY = 0.05  # more than this, and a rival format is the model's own
_KNOWN, _UNKNOWN = 0.5, 0.25  # known in one format, not in the other


@dataclass(frozen=True, slots=True)
class ChosenFormat:
    """The format in use, what a person should know about it, and the first forget prompt in it."""

    format: PromptFormat
    words: str
    sample: str


def use_format(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: UnlearningData, asked: str = "auto"
) -> ChosenFormat:
    """Put the format called `asked` on the tokenizer, or with "auto" the one that fits model and data.

    Where prompts end in white space the model may know the rows without it: the format in which it finds a
    few of the answers likelier is taken. InputError for a format this tokenizer cannot have.
    """
    rows = [row for row in data.forget[:_ROWS] if row.output.strip()]
    others: tuple[PromptFormat, ...] = ()
    if asked != "auto":
        chosen = prompt_format.named(asked, tokenizer)
    else:
        chosen, *rivals = prompt_format.choose(tokenizer, data)
        known = _probability(model, tokenizer, chosen, rows) if rivals else 0.0
        for rival in rivals:
            if _probability(model, tokenizer, rival, rows) > known + _CLEARLY:
                chosen = rival
        others = (prompt_format.RAW,) if chosen.template else prompt_format.chat_of(tokenizer, chosen)
    prompt_format.put_on(tokenizer, chosen)
    words = chosen.told()
    if not chosen.template and asked == "auto" and (why := prompt_format.unusable(tokenizer)):
        words += f" The tokenizer's chat template is not used: {why}."
    for other in others:
        if better(model, tokenizer, other, chosen, rows):
            words += f" The model knows these rows in the format {other.name}, not in this one: --prompt {other.name}."
    sample = chosen.prompt_text(tokenizer, rows[0].prompt) if rows else ""
    return ChosenFormat(chosen, words, sample)


def better(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    other: PromptFormat,
    chosen: PromptFormat,
    rows: Sequence[Example],
) -> bool:
    """Whether the model knows the rows in the other format and not in the chosen one."""
    if not rows or _probability(model, tokenizer, other, rows) < _KNOWN:
        return False
    return _probability(model, tokenizer, chosen, rows) < _UNKNOWN


def _probability(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, chosen: PromptFormat, rows: Sequence[Example]
) -> float:
    """The mean over rows of the geometric-mean probability of the answer's tokens (0..1)."""
    before = format_of(tokenizer)
    prompt_format.put_on(tokenizer, chosen)
    try:
        encoded = [encode_example(tokenizer, row, i, _MAX_TOKENS) for i, row in enumerate(rows)]
    finally:
        prompt_format.put_on(tokenizer, before)
    found = all_traces(model, [replace(row, index=i) for i, row in enumerate(encoded)], pad_id_of(tokenizer))
    likely = [math.exp(-t.head(len(t.log_prob_T) - e.num_end).nll) for t, e in zip(found, encoded, strict=True)]
    known = [value for value in likely if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0
