"""How probable the answers of some rows are to one model; the definition is `models.inference.answer_probability`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.types import Example
from unlearn_core.models.inference.answer_probability import log_probability
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import all_traces

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def answer_log_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Example]
) -> list[float]:
    """log p(output | input) of each row in nats, the end of text left out; NaN for an empty answer.

    Prompts reach the model as whatever stands before it puts them.
    """
    ask = front_of(model).ask
    encoded = [encode_example(tokenizer, replace(row, input=ask(row.input)), i) for i, row in enumerate(rows)]
    found = all_traces(model, encoded, pad_id_of(tokenizer))
    return [
        log_probability(trace.log_prob_T[: len(trace.log_prob_T) - row.num_end])
        for trace, row in zip(found, encoded, strict=True)
    ]
