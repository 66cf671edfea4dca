"""The layers below the first that trains: what they put out is computed once for each sequence and kept.

While only upper layers train, the states that enter the first of them never change. The prompts of one
subject are few and come again in every step, and the texts by which a model is scored come again once it
has forgotten. So from the second time on a pass begins there: nothing below is computed, and no gradient
goes below. By hooks on the model's own layers, so no architecture needs code of its own; whether the
result is the same is tried once, and where it is not, every pass is whole.

Legend: B rows of a batch, T positions, M real tokens of the batch, D hidden.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch

from unlearn_core.data.encode import Batch
from unlearn_core.models.inference.forward import body_and_head, layers, stands_alone, unpadded, unwrap
from unlearn_core.models.inference.hidden import entered, hidden_after

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_BYTES = 2 * 2**30  # of kept states; beyond it the oldest are computed again


class FrozenBottom:
    """States that enter layer `first` of `model`, by sequence."""

    def __init__(self, model: PreTrainedModel, first: int) -> None:
        self._model, self.first = model, first
        self._states: dict[tuple[int, ...], torch.Tensor] = {}  # ids -> (t, D)
        self._bytes = 0

    @contextmanager
    def entered(
        self, sequences: Sequence[tuple[int, ...]], inputs: dict[str, Any], places_M: torch.Tensor
    ) -> Iterator[None]:
        """Inside the `with`, a pass over `inputs`, which hold `sequences` at `places_M`, begins at `first`."""
        self._compute_missing(sequences, inputs, places_M)
        ids_BT = inputs["input_ids"]
        states_MD = torch.cat([self._states[ids] for ids in sequences])
        flat = torch.zeros(ids_BT.numel(), states_MD.shape[1], dtype=states_MD.dtype, device=states_MD.device)
        flat[places_M] = states_MD
        with _begun_at(self._model, self.first, flat.view(*ids_BT.shape, -1)):
            yield

    @torch.inference_mode(False)  # what a score has computed, a step may learn from
    @torch.no_grad()
    def _compute_missing(
        self, sequences: Sequence[tuple[int, ...]], inputs: dict[str, Any], places_M: torch.Tensor
    ) -> None:
        if all(ids in self._states for ids in sequences):
            return
        hidden_BTD = hidden_after(self._model, self.first - 1, inputs)
        found = hidden_BTD.flatten(0, 1)[places_M].split([len(ids) for ids in sequences])
        for ids, states_tD in zip(sequences, found, strict=True):
            if self._bytes > MAX_BYTES:
                self._states.clear()
                self._bytes = 0
            self._bytes += states_tD.numel() * states_tD.element_size()
            self._states[ids] = states_tD.clone()
        for ids, states_tD in zip(sequences, found, strict=True):  # those that went when room was made
            self._states.setdefault(ids, states_tD)


@contextmanager
def _begun_at(model: PreTrainedModel, first: int, states_BTD: torch.Tensor) -> Iterator[None]:
    """Take the layers below `first` out of the model, and let `states_BTD` enter it."""
    whole = layers(model)
    inner = unwrap(model)
    body = getattr(inner, inner.base_model_prefix)
    name = next(name for name, child in body.named_children() if child is whole)
    with entered(model, first, lambda _: states_BTD):
        setattr(body, name, torch.nn.ModuleList(list(whole)[first:]))
        try:
            yield
        finally:
            setattr(body, name, whole)


_KEPT: WeakKeyDictionary[PreTrainedModel, FrozenBottom] = WeakKeyDictionary()


def bottom_of(model: PreTrainedModel) -> FrozenBottom | None:
    """The kept states of a model in training; None where every pass is whole."""
    return _KEPT.get(unwrap(model))


def begun_above(model: PreTrainedModel, batch: Batch) -> AbstractContextManager[None]:
    """Inside the `with`, a pass over the padded batch begins above what is kept, where something is."""
    bottom, width = bottom_of(model), batch.input_ids_BT.shape[1]
    if bottom is None or stands_alone(model, width):
        return nullcontext()
    sequences = [tuple(ids_T.tolist()) for ids_T in unpadded(batch)]
    inputs = {"input_ids": batch.input_ids_BT, "use_cache": False}
    return bottom.entered(sequences, inputs, batch.attention_mask_BT.flatten().nonzero()[:, 0])


@contextmanager
def frozen_below(model: PreTrainedModel, first: int) -> Iterator[None]:
    """Inside the `with`, passes of whole sequences begin at layer `first`, below which nothing may change.

    Inside another that begins no higher, that one goes on: what it has kept serves both.
    """
    inner = unwrap(model)
    around = _KEPT.get(inner)
    if around is not None and around.first <= first:
        yield
        return
    _KEPT.pop(inner, None)
    if first > 0 and _begins_the_same(model, first):
        body_and_head(model)  # tried now, on the whole model: within a pass that begins higher it would seem not to fit
        _KEPT[inner] = FrozenBottom(model, first)
    try:
        yield
    finally:
        _KEPT.pop(inner, None)
        if around is not None:
            _KEPT[inner] = around


@torch.no_grad()
def _begins_the_same(model: PreTrainedModel, first: int) -> bool:
    """Whether a pass that begins at `first` ends as a whole one does, on a few tokens."""
    inner = unwrap(model)
    body = getattr(inner, inner.base_model_prefix)
    count = min(9, int(model.config.get_text_config().vocab_size))
    inputs = {"input_ids": torch.arange(count, device=model.device)[None], "use_cache": False}
    try:
        whole = body(**inputs).last_hidden_state
        states_BTD = hidden_after(model, first - 1, inputs)
        with _begun_at(model, first, states_BTD):
            again = body(**inputs).last_hidden_state
    except (RuntimeError, TypeError, AttributeError, IndexError, KeyError, StopIteration):
        return False
    return torch.equal(whole, again)
