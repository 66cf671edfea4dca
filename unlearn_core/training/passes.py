"""Passes a method asks for besides the steps' own: predictions, a gradient over many rows, continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, pad_id_of
from unlearn_core.methods.losses import summed_gradients
from unlearn_core.models.generation.generate import continue_all
from unlearn_core.models.inference.forward import AnswerPredictions, token_nll
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import forward, pack_in_chunks, predict, predict_in_chunks, split_parts

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
        layouts = pack_in_chunks(self._model, rows, self._pad_id)
        losses = (token_nll(split_parts(each, forward(self._model, each))[""]).sum() for each in layouts)
        num_tokens = max(1, sum(row.num_predicted for row in rows))
        return {name: total / num_tokens for name, total in summed_gradients(self._parameters, losses).items()}

    def continuations(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after each prompt, up to and including the end of text."""
        return continue_all(self._model, self._tokenizer, prompts, max_new_tokens)
