"""From rows to the sequences of each step; which ones depends only on the seed and the step's number."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from unlearn_core.data.encode import Encoded, answer_text, encode_document, encode_example, epoch_order
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.methods.base import Form, Mix, Part

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MAX_TOKENS = 1024  # longer sequences are cut; LUME's longest document has about 600


def build_parts(
    tokenizer: PreTrainedTokenizerBase, data: UnlearningData, mix: Mix, max_tokens: int | None = MAX_TOKENS
) -> dict[str, Part]:
    """Every sequence the steps may draw on: `forget`, and `retain` and `holdout` where wanted.

    The retain part ends with the general facts. A part without rows is left out.
    """
    parts = {"forget": _part(tokenizer, data.forget, mix.forget_documents, max_tokens)}
    if mix.retain:
        retained = _part(tokenizer, data.retain, mix.retain_documents, max_tokens)
        general = data.general if mix.general or not data.retain else ()
        parts["retain"] = _part(tokenizer, general, False, max_tokens, retained)
    if mix.holdout:
        parts["holdout"] = _part(tokenizer, data.holdout, mix.forget_documents, max_tokens)
    return {name: part for name, part in parts.items() if part.rows}


def _part(
    tokenizer: PreTrainedTokenizerBase,
    examples: Iterable[Example],
    documents: bool,
    max_tokens: int | None,
    before: Part | None = None,
) -> Part:
    rows = list(before.rows) if before else []
    forms = list(before.forms) if before else []
    for example in examples:
        rows.append(encode_example(tokenizer, example, len(rows), max_tokens))
        forms.append(Form(example.task, example.kind))
        if documents and example.kind == "completion":
            text = example.input + answer_text(example.input, example.output)
            document = encode_document(tokenizer, text, len(rows), max_tokens)
            if len(document.ids) > 1:
                rows.append(document)
                forms.append(Form(example.task, "document"))
    return Part(tuple(rows), tuple(forms))


@dataclass(frozen=True)
class _Cycle:
    """`size` rows a step out of `first` to `first + count`, all covered before any is repeated."""

    first: int
    count: int
    size: int
    seed: int

    def rows(self, step: int) -> list[int]:
        places = range(step * self.size, (step + 1) * self.size)
        return [
            self.first + _order(self.count, self.seed, at // self.count)[at % self.count] for at in places
        ]


class Feed:
    """The sequences of any step, by part. `num_general` rows at the end of `retain` are general facts."""

    def __init__(self, parts: dict[str, Part], mix: Mix, seed: int, num_general: int = 0) -> None:
        self._parts = parts
        self._cycles: dict[str, list[_Cycle]] = {}
        sizes = {"forget": mix.forget, "retain": mix.retain, "holdout": mix.holdout}
        for place, (name, part) in enumerate(parts.items()):
            spans = [(0, len(part.rows), sizes[name])]
            if name == "retain" and num_general:
                split = len(part.rows) - num_general
                of_general = round(mix.retain * mix.general) if split else mix.retain
                spans = [(0, split, mix.retain - of_general), (split, num_general, of_general)]
            self._cycles[name] = [
                _Cycle(first, count, min(size, count), seed + 2**32 * (2 * place + half))
                for half, (first, count, size) in enumerate(spans)
                if min(size, count)
            ]

    def step(self, step: int) -> dict[str, list[Encoded]]:
        """The sequences of step `step` (from 0)."""
        return {
            name: [part.rows[row] for cycle in self._cycles[name] for row in cycle.rows(step)]
            for name, part in self._parts.items()
        }

    def visited(self, name: str, num_steps: int) -> list[int]:
        """The rows of a part that `num_steps` steps draw on, ascending."""
        rows: set[int] = set()
        for cycle in self._cycles[name]:
            num_needed = min(num_steps, -(-cycle.count // cycle.size) + 1)
            rows.update(row for step in range(num_needed) for row in cycle.rows(step))
        return sorted(rows)


@lru_cache(maxsize=64)
def _order(num_rows: int, seed: int, epoch: int) -> list[int]:
    return epoch_order(num_rows, seed, epoch)
