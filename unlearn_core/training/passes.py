"""Passes a method asks for besides the steps' own: predictions, a gradient over many rows, continuations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, pad_id_of
from unlearn_core.methods.losses import summed_gradients
from unlearn_core.models.generation.generate import continue_all
from unlearn_core.models.inference.forward import AnswerPredictions, token_nll
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import (
    each_pack,
    forward,
    pack_in_chunks,
    pack_outputs,
    predict,
    predict_in_chunks,
    split_parts,
    states_beside,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ModelPasses:
    """The model as it is now (see `methods.context.CurrentModel`); `parameters` maps names to what trains, `beside`
    are the layers whose states the method reads besides the logits."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        parameters: dict[str, torch.nn.Parameter],
        beside: Sequence[int] = (),
    ) -> None:
        self._model, self._tokenizer, self._parameters, self._beside = model, tokenizer, parameters, beside
        self._pad_id = pad_id_of(tokenizer)

    def answers(self, rows: Sequence[Encoded]) -> Iterator[AnswerPredictions]:
        """Predictions for the rows without gradient, in order of length."""
        return predict_in_chunks(self._model, rows, self._pad_id)

    def predictions(self, rows: Sequence[Encoded], model: PreTrainedModel | None = None) -> AnswerPredictions:
        """Predictions of `model` (the run's own where not given) in one packed pass, with gradient."""
        model = model if model is not None else self._model
        return predict(model, pack_parts(model, {"": list(rows)}, self._pad_id))[""]

    @torch.no_grad()
    def states(self, rows: Sequence[Encoded]) -> torch.Tensor | None:
        """What the layers that the method reads besides put out (R, L, D) at the last token of each row's prompt."""
        if not self._beside or not rows:
            return None
        found: dict[int, torch.Tensor] = {}
        placed = [replace(row, index=place) for place, row in enumerate(rows)]
        for layout in pack_in_chunks(self._model, placed, self._pad_id):
            packs = each_pack(self._model, layout, partial(pack_outputs, self._model, layout, beside=self._beside))
            states_SLD = states_beside(layout, torch.cat([states_nX for _, states_nX in packs]), len(self._beside))
            found.update(zip(layout.index, states_SLD, strict=True))
        return torch.stack([found[place] for place in range(len(rows))])

    def gradient(self, rows: Sequence[Encoded]) -> dict[str, torch.Tensor]:
        """Gradient of the token mean NLL over all rows; `.grad` is not touched."""
        layouts = pack_in_chunks(self._model, rows, self._pad_id)
        losses = (token_nll(split_parts(each, forward(self._model, each))[""]).sum() for each in layouts)
        num_tokens = max(1, sum(row.num_predicted for row in rows))
        return {name: total / num_tokens for name, total in summed_gradients(self._parameters, losses).items()}

    def continuations(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> list[list[int]]:
        """Greedy tokens after each prompt, up to and including the end of text."""
        return continue_all(self._model, self._tokenizer, prompts, max_new_tokens)
