"""Passes a method asks for besides the steps' own: predictions, a gradient over many rows, continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, pad_id_of
from unlearn_core.models.generation.generate import continue_all
from unlearn_core.models.inference.forward import AnswerPredictions, token_nll
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import CHUNK, forward, predict, predict_in_chunks, split_parts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelPasses:
    """The model as it is now (see `methods.context.CurrentModel`); `parameters` maps names to what trains."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        parameters: dict[str, torch.nn.Parameter],
    ) -> None:
        self._model, self._tokenizer, self._parameters = model, tokenizer, parameters
        self._pad_id = pad_id_of(tokenizer)

    def answers(self, rows: Sequence[Encoded]) -> Iterator[AnswerPredictions]:
        """Predictions for the rows without gradient, in order of length."""
        return predict_in_chunks(self._model, rows, self._pad_id)

    def predictions(self, rows: Sequence[Encoded], model: PreTrainedModel | None = None) -> AnswerPredictions:
        """Predictions of `model` (the run's own where not given) in one packed pass, with gradient."""
        model = model if model is not None else self._model
        return predict(model, pack_parts(model, {"": list(rows)}, self._pad_id))[""]

    def gradient(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """Gradient of the token mean NLL over all rows; `.grad` is not touched."""
        sums = {name: torch.zeros_like(p) for name, p in self._parameters.items()}
        in_order, num_tokens = sorted(rows, key=lambda row: len(row.ids)), 0
        for at in range(0, len(rows), CHUNK):
            layout = pack_parts(self._model, {"": in_order[at : at + CHUNK]}, self._pad_id)
            nll_N = token_nll(split_parts(layout, forward(self._model, layout))[""])
            num_tokens += len(nll_N)
            found = torch.autograd.grad(nll_N.sum(), list(self._parameters.values()), allow_unused=True)
            for total, gradient in zip(sums.values(), found, strict=True):
                if gradient is not None:
                    total += gradient
        return {name: total / max(1, num_tokens) for name, total in sums.items()}

    def continuations(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after each prompt, up to and including the end of text."""
        return continue_all(self._model, self._tokenizer, prompts, max_new_tokens)
