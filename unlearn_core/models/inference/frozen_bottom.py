"""The layers below the first that trains: what they put out is computed once for each sequence and kept.

While only upper layers train, the states that enter the first of them never change. The prompts of one
subject are few and come again in every step, and the texts by which a model is scored come again once it
has forgotten. So from the second time on a pass begins there: nothing below is computed, and no gradient
goes below. By hooks on the model's own layers, so no architecture needs code of its own; whether the
result is the same is tried once, and where it is not, every pass is whole.

Legend: B rows of a batch, T positions, M real tokens of the batch, D hidden.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import wraps
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
        self._lock = threading.Lock()
        self._passing = threading.local()  # whether a thread's pass begins above
        self._is_tuple: dict[int, int] = {}  # layer -> the values it puts out, where those are a tuple

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside the `with`, the layers below are left out of the passes of `entered`, and of no other thread's."""
        below = list(layers(self._model))[: self.first]
        before = [vars(layer).get("forward") for layer in below]
        for number, layer in enumerate(below):
            layer.forward = self._left_out(number, layer.forward)
        try:
            yield
        finally:
            for layer, forward in zip(below, before, strict=True):
                if forward is None:
                    del layer.forward
                else:
                    layer.forward = forward

    def _left_out(self, number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(forward)
        def passed_on(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._passing, "above", False):
                hidden_BTD = args[0] if args else kwargs["hidden_states"]
                size = self._is_tuple.get(number)
                return hidden_BTD if size is None else (hidden_BTD, *[None] * (size - 1))
            output = forward(*args, **kwargs)
            if isinstance(output, tuple):
                self._is_tuple[number] = len(output)
            return output

        return passed_on

    @contextmanager
    def entered(
        self, sequences: Sequence[tuple[int, ...]], inputs: dict[str, Any], places_M: torch.Tensor
    ) -> Iterator[None]:
        """Inside the `with`, a pass over `inputs`, which hold `sequences` at `places_M`, begins at `first`."""
        states_MD = self._below(sequences, inputs, places_M)
        ids_BT = inputs["input_ids"]
        flat = torch.zeros(ids_BT.numel(), states_MD.shape[1], dtype=states_MD.dtype, device=states_MD.device)
        flat[places_M] = states_MD
        with self.begun_with(flat.view(*ids_BT.shape, -1)):
            yield

    @contextmanager
    def begun_with(self, states_BTD: torch.Tensor) -> Iterator[None]:
        """Inside the `with`, this thread's passes begin with what enters layer `first`."""
        self._passing.above = True
        try:
            with entered(self._model, self.first, lambda _: states_BTD):
                yield
        finally:
            self._passing.above = False

    @torch.inference_mode(False)  # what a score has computed, a step may learn from
    @torch.no_grad()
    def _below(
        self, sequences: Sequence[tuple[int, ...]], inputs: dict[str, Any], places_M: torch.Tensor
    ) -> torch.Tensor:
        """What enters layer `first` at the tokens (M, D), kept or computed now."""
        kept = [self._states.get(ids) for ids in sequences]
        known = [states_tD for states_tD in kept if states_tD is not None]
        if len(known) == len(kept):
            return torch.cat(known)
        found_MD = hidden_after(self._model, self.first - 1, inputs).flatten(0, 1)[places_M]
        with self._lock:
            for ids, states_tD in zip(sequences, found_MD.split([len(ids) for ids in sequences]), strict=True):
                if self._bytes > MAX_BYTES:
                    self._states.clear()
                    self._bytes = 0
                self._bytes += states_tD.numel() * states_tD.element_size()
                self._states[ids] = states_tD.clone()
        return found_MD


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
    bottom = FrozenBottom(model, first)
    try:
        with bottom.installed() if first > 0 else nullcontext():
            if first > 0 and _begins_the_same(model, bottom):
                body_and_head(model)  # tried now: within a pass that begins higher it would seem not to fit
                _KEPT[inner] = bottom
            yield
    finally:
        _KEPT.pop(inner, None)
        if around is not None:
            _KEPT[inner] = around


@torch.no_grad()
def _begins_the_same(model: PreTrainedModel, bottom: FrozenBottom) -> bool:
    """Whether a pass that begins above ends as a whole one does, on a few tokens."""
    inner = unwrap(model)
    body = getattr(inner, inner.base_model_prefix)
    count = min(9, int(model.config.get_text_config().vocab_size))
    inputs = {"input_ids": torch.arange(count, device=model.device)[None], "use_cache": False}
    try:
        whole = body(**inputs).last_hidden_state
        states_BTD = hidden_after(model, bottom.first - 1, inputs)
        with bottom.begun_with(states_BTD):
            again = body(**inputs).last_hidden_state
    except (RuntimeError, TypeError, AttributeError, IndexError, KeyError, StopIteration):
        return False
    return torch.equal(whole, again)
