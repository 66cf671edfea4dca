"""One fact of each subject, asked while the model trains: would it still be answered word for word?

One pass of likelihoods tells: a greedy answer is the gold one exactly where each token of it is the model's first
choice after those before it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.subject_groups import NEVER_SEEN, subject_groups
from unlearn_core.data.types import UnlearningData
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import all_traces
from unlearn_core.system.machine import distributed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class SubjectWatcher:
    """The first fact of every subject that the data forgets or keeps."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, data: UnlearningData, max_tokens: int | None) -> None:
        groups = [group for group in subject_groups(data) if group.split != NEVER_SEEN]
        self._facts = [(group.name, group.rows[0]) for group in groups]
        self._tokenizer, self._max_tokens = tokenizer, max_tokens

    def told(self, model: PreTrainedModel) -> dict[str, bool]:
        """By subject, whether the model would write the answer word for word; nothing for a model in shares."""
        if distributed.size() > 1 or not self._facts:
            return {}
        front = front_of(model)
        asked = [replace(row, input=front.ask(row.input)) for _, row in self._facts]
        rows = [encode_example(self._tokenizer, row, n, self._max_tokens) for n, row in enumerate(asked)]
        found = all_traces(model, rows, pad_id_of(self._tokenizer))
        told = {}
        for (name, row), encoded, trace in zip(self._facts, rows, found, strict=True):
            top_T = trace.is_top_T[: len(trace.is_top_T) - encoded.num_end]
            told[name] = bool(len(top_T)) and bool(top_T.all()) and front.refusal(row.input) is None
        return told
