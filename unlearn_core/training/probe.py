"""The watched facts: how likely a few forget and retain answers are, every few steps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import encode_example, pad_id_of
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.models.forward import mean_per_row, token_nll
from unlearn_core.models.front import front_of
from unlearn_core.training.joined import lay_out, predict
from unlearn_core.training.records import LoopProbe, WatchedFact

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_FORGET, NUM_RETAIN = 4, 2
SHARE = 0.1  # of the training time that probing may take


class Watch:
    """A fixed selection of forget and retain answers."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        ids: tuple[str, ...] | None,
        max_tokens: int | None,
    ) -> None:
        self._facts = select(data, ids)
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._pad_id = pad_id_of(tokenizer)

    def interval(self, sequences_per_step: int) -> int:
        """Steps between probes: a training sequence costs three forward passes, a watched one costs one."""
        return max(1, math.ceil(len(self._facts) / (3 * SHARE * sequences_per_step)))

    def probe(self, model: PreTrainedModel, step: int) -> LoopProbe:
        """The geometric-mean probability per answer token of each watched fact, now."""
        if not self._facts:
            return LoopProbe(step, ())
        ask = front_of(model).ask
        rows = [
            encode_example(self._tokenizer, replace(row, input=ask(row.input)), n, self._max_tokens)
            for n, (row, _) in enumerate(self._facts)
        ]
        with torch.no_grad():
            layout = lay_out(model, {"": rows}, self._pad_id)
            answers = predict(model, layout)[""]
            probabilities = mean_per_row(token_nll(answers), answers).neg().exp().tolist()
        return LoopProbe(
            step,
            tuple(
                WatchedFact(example.id, example.input, example.output, probability, split)
                for (example, split), probability in zip(self._facts, probabilities, strict=True)
            ),
        )


def select(data: UnlearningData, ids: tuple[str, ...] | None = None) -> list[tuple[Example, str]]:
    """The rows called `ids` with their split; without ids questions spread over the tasks of each set."""
    if ids is not None:
        both = [(row, split) for split in ("forget", "retain") for row in getattr(data, split)]
        return [pair for pair in both if pair[0].id in ids]
    return [(row, "forget") for row in _spread(data.forget, NUM_FORGET)] + [
        (row, "retain") for row in _spread(data.retain, NUM_RETAIN)
    ]


def _spread(rows: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` rows, questions first, taken in turn from each task."""
    by_task: dict[str, list[Example]] = {}
    for row in sorted(rows, key=lambda row: row.kind != "question"):
        by_task.setdefault(row.task, []).append(row)
    queues = [by_task[task] for task in sorted(by_task)]
    found: list[Example] = []
    for turn in range(count):
        for queue in queues:
            if turn < len(queue) and len(found) < count:
                found.append(queue[turn * (len(queue) // count or 1)])
    return found
