"""The watched facts: how likely a few answers are that should fade, and a few that must not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, encode_example, pad_id_of, token_text
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.inference.answer_probability import per_token, probability
from unlearn_core.models.inference.forward import token_nll
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.system.grouped import grouped
from unlearn_core.system.machine import distributed
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import predict
from unlearn_core.training.records import WATCHED_SPLITS, WatchedFact

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_FORGET, NUM_RETAIN, NUM_NEIGHBOURS, NUM_GENERAL = 4, 6, 6, 6
NUM_WRITTEN = 3  # of the forget and of the retain facts, those whose answers are written out
MAX_WRITTEN = 64  # tokens of such an answer
MAX_PIECES = 16  # tokens of an answer whose probabilities are told one by one


class FactWatcher:
    """A fixed selection of answers to forget, to retain, and of general knowledge."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        ids: tuple[str, ...] | None,
        max_tokens: int | None,
    ) -> None:
        self._facts = select(data, ids)
        by_split = {split: [f for f in self._facts if f[1] == split] for split in ("forget", "retain")}
        self._written = [fact for facts in by_split.values() for fact in facts[:NUM_WRITTEN]]
        told = [fact for split in WATCHED_SPLITS for fact in [f for f in self._facts if f[1] == split][:NUM_WRITTEN]]
        self._in_pieces = {(example.id, split) for example, split in told}
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self._max_new_tokens = min(data.max_new_tokens, MAX_WRITTEN)

    @property
    def num_facts(self) -> int:
        return len(self._facts)

    @property
    def num_tokens(self) -> int:
        """Tokens of one look, prompts included."""
        return sum(len(row.ids) for row in self._rows(lambda prompt: prompt))

    def likelihoods(self, model: PreTrainedModel) -> tuple[WatchedFact, ...]:
        """How probable each watched answer is now."""
        if not self._facts:
            return ()
        with torch.no_grad():
            rows = self._rows(front_of(model).ask)
            answers = predict(model, pack_parts(model, {"": rows}, pad_id_of(self._tokenizer)))[""]
            log_prob_N, row_N = token_nll(answers).neg().cpu().numpy(), answers.row_N.cpu().numpy()
        logs = [log_prob_N[row_N == place] for place in range(len(rows))]
        logs = [log_T[: len(log_T) - row.num_end] for log_T, row in zip(logs, rows, strict=True)]
        found = []
        for (example, split), row, log_T in zip(self._facts, rows, logs, strict=True):
            pieces = self._pieces(row, log_T) if (example.id, split) in self._in_pieces else ()
            whole, mean = probability(log_T), per_token(log_T)
            found.append(WatchedFact(example.id, example.input, example.output, whole, split, mean, pieces))
        return tuple(found)

    def answers(self, model: PreTrainedModel) -> tuple[dict[str, str], ...]:
        """What the model writes to a few of the forget and retain prompts, greedily (see `FactAnswers`)."""
        if distributed.size() > 1:  # a model in shares gives hidden states, which nobody can write with
            return ()
        prompts = [row.prompt for row, _ in self._written]
        texts = generate_all(model, self._tokenizer, prompts, self._max_new_tokens)
        return tuple(
            {"id": row.id, "split": split, "text": text}
            for (row, split), text in zip(self._written, texts, strict=True)
        )

    def _pieces(self, row: Encoded, log_T: np.ndarray) -> tuple[tuple[str, float], ...]:
        """The first tokens of an answer as text, each with its probability; `log_T` in nats."""
        ids = row.ids[len(row.ids) - row.num_end - len(log_T) :][:MAX_PIECES]
        return tuple(
            (token_text(self._tokenizer, token), round(math.exp(float(log)), 6))
            for token, log in zip(ids, log_T, strict=False)
        )

    def _rows(self, ask: Callable[[str], str]) -> list[Encoded]:
        """The facts with their answers, each prompt as `ask` puts it."""
        rows = [replace(row, input=ask(row.input)) for row, _ in self._facts]
        return [encode_example(self._tokenizer, row, n, self._max_tokens) for n, row in enumerate(rows)]


def select(data: UnlearningData, ids: tuple[str, ...] | None = None) -> list[tuple[Example, str]]:
    """The rows called `ids` with their split; without ids questions spread over the tasks of each set, and
    general questions with their right option as the answer."""
    if ids is not None:
        both = [(row, split) for split in ("forget", "retain") for row in getattr(data, split)]
        return [pair for pair in both if pair[0].id in ids]
    asked = [Example(q.id, q.question, q.choices[q.answer], q.subject) for q in data.questions]
    wanted = {
        "forget": (data.forget, NUM_FORGET),
        "retain": (data.retain, NUM_RETAIN),
        "neighbours": (data.neighbours, NUM_NEIGHBOURS),
        "general": (asked or data.general, NUM_GENERAL),
    }
    return [(row, split) for split, (rows, count) in wanted.items() for row in _spread(rows, count)]


def _spread(rows: Sequence[Example], count: int) -> list[Example]:
    """Up to `count` rows, questions first, taken in turn from each task."""
    by_task = grouped((row.task, row) for row in sorted(rows, key=lambda row: row.kind != "question"))
    queues = [by_task[task] for task in sorted(by_task)]
    found: list[Example] = []
    for turn in range(count):
        for queue in queues:
            if turn < len(queue) and len(found) < count:
                found.append(queue[turn * (len(queue) // count or 1)])
    return found
