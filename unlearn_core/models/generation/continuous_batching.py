"""Continuous batching: a row that has ended leaves its slot to a prompt that waits.

    slot 0   p p p a a a a a a .      every slot has its own position, and keys and values of its own length;
    slot 1   p p a a | p a a a .      a step writes one token in each, whatever their lengths
    slot 2   p p p p p a a a a .

Prompts enter several at a time, padded on the right, where no token looks. Every tensor of a step keeps its
place in memory, so that a GPU can replay it (see `cuda_graph`); once nobody waits, slots without a row are
closed. Legend: B slots, K key positions, R rows that enter, T prompt positions, H heads, D head width,
N new tokens, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from unlearn_core.models.generation.cuda_graph import CudaGraphCache
from unlearn_core.models.generation.decoding import DecodingRules
from unlearn_core.models.generation.masks import attention_mask
from unlearn_core.models.inference.forward import body_and_head, computing_dtype
from unlearn_core.models.inference.packed import tuned

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Choose = Callable[[torch.Tensor], torch.Tensor]
Rows = Sequence[Sequence[int]]

_CHANGE_BELOW = 0.75  # slots are filled again or closed when no more than this share of them is writing
_ENTER_TOKENS = {"cpu": 1 << 14, "cuda": 1 << 16}  # positions of prompts in the model at a time
_KEY_STEPS = {"cpu": 1, "cuda": 128}  # a replayed step sees a multiple of this many key positions
_CLEARED_AT_ONCE = 16  # key positions
_STEPS_BLIND = {"cpu": 1, "cuda": 4}  # steps between looks at who has ended: a look waits for the GPU


def continued(
    model: PreTrainedModel,
    rows: Rows,
    order: Sequence[int],
    num_slots: int,
    max_new: int,
    stop_ids: Sequence[int],
    pad_id: int,
    choose: Choose,
    rules: DecodingRules | None = None,
) -> Iterator[dict[int, list[int]]]:
    """The chosen tokens after each of `rows`, up to and including its end of text, as rows end.

    `order`: which rows, in the order in which they enter. `rules`: what the model's configuration asks of
    decoding, applied before `choose`.
    """
    waiting = deque(order)
    width = max((len(rows[i]) for i in order), default=0) + max_new
    width += -width % 16  # a GPU's attention would copy a mask of any other width
    slots = BatchSlots(model, min(num_slots, len(order)), width, max_new, stop_ids, pad_id, choose, rules)
    while True:
        while waiting and slots.num_free:
            slots.enter({i: rows[i] for i in _next(waiting, rows, slots)})
        slots.close_free()
        if not slots.size:
            return
        while not slots.due():
            slots.write()
        yield slots.leave()


def _next(waiting: deque[int], rows: Rows, slots: BatchSlots) -> list[int]:
    """The rows that enter together: as many as are free, within the bound on positions."""
    width = 0
    taken: list[int] = []
    while waiting and len(taken) < slots.num_free:
        width = max(width, len(rows[waiting[0]]))
        if taken and width * (len(taken) + 1) > _ENTER_TOKENS[slots.kind]:
            break
        taken.append(waiting.popleft())
    return taken


class BatchSlots:
    """The state of all slots; the first `size` are in use, written or waiting to be filled again."""

    def __init__(
        self,
        model: PreTrainedModel,
        capacity: int,
        width: int,
        max_new: int,
        stop_ids: Sequence[int],
        pad_id: int,
        choose: Choose,
        rules: DecodingRules | None,
    ) -> None:
        device = next(model.parameters()).device
        self.kind = "cpu" if device.type == "cpu" else "cuda"
        self.size = 0
        self._model, self._choose, self._pad_id, self._max_new = model, choose, pad_id, max_new
        # Copies of weights (see `models.precision`) are drawn anew in each step, which no record can do.
        self._replay = CudaGraphCache(tuned(device) and computing_dtype(model) == model.dtype)
        self._places = SlotPositions(capacity, width, device)
        self._cache = Cache(layer_class_to_replicate=partial(SlotLayer, self._places))  # type: ignore[arg-type]
        self._stops = torch.tensor(sorted(stop_ids), dtype=torch.long, device=device)
        self._token_B1 = torch.zeros(capacity, 1, dtype=torch.long, device=device)
        self._age_B = torch.zeros(capacity, dtype=torch.long, device=device)  # tokens written
        self._done_B = torch.ones(capacity, dtype=torch.bool, device=device)
        # One column more: a slot whose row has ended goes on writing there until it is looked at.
        self._written_BN = torch.zeros(capacity, max_new + 1, dtype=torch.long, device=device)
        self._row: list[int | None] = [None] * capacity  # whose slot it is
        self._rules = rules or None
        self._ruled: dict[int, tuple[Any, torch.Tensor]] = {}  # by row: its processors and its prompt
        self._begin = [0] * capacity  # position of its next key, less the steps taken
        self._farthest = 0  # the most of those
        self._steps = 0

    @property
    def num_free(self) -> int:
        """Slots without a row."""
        return self._row.count(None)

    @torch.inference_mode()
    def enter(self, rows: dict[int, Sequence[int]]) -> None:
        """Put rows into free slots; each gets its first new token."""
        free = [slot for slot, row in enumerate(self._row) if row is None][: len(rows)]
        lengths = [len(row) for row in rows.values()]
        for slot, (number, row) in zip(free, rows.items(), strict=True):
            self._row[slot], self._begin[slot] = number, len(row) - self._steps
        self._look()
        self.size = max(self.size, free[-1] + 1)
        device = self._token_B1.device
        width = max(lengths)
        ids_RT = torch.tensor([[*row, *[self._pad_id] * (width - len(row))] for row in rows.values()])
        slot_R, length_R = torch.tensor(free, device=device), torch.tensor(lengths, device=device)
        self._clear(width)
        self._places.entering_R = slot_R
        logits_RV = self._after_prompts(ids_RT.to(device), length_R - 1)
        self._places.entering_R = None
        self._places.key_B[slot_R] = length_R - 1
        self._age_B[slot_R] = 0
        self._done_B[slot_R] = False
        if self._rules is not None:
            for number, row in rows.items():
                self._ruled[number] = self._rules.of_prompt(len(row)), torch.tensor(row, device=device)
        self._take(slot_R, self._chosen(free, logits_RV))

    def _after_prompts(self, ids_RT: torch.Tensor, last_R: torch.Tensor) -> torch.Tensor:
        """Logits (R, V) after each prompt."""
        row_R = torch.arange(len(ids_RT), device=ids_RT.device)
        inputs = {"input_ids": ids_RT, "past_key_values": self._cache, "use_cache": True}
        split = body_and_head(self._model)
        if split is not None:
            body, head = split
            logits_RV: torch.Tensor = head(body(**inputs).last_hidden_state[row_R, last_R])
            return logits_RV
        kept, at_R = last_R.unique(return_inverse=True)
        return self._model(**inputs, logits_to_keep=kept).logits[row_R, at_R]  # type: ignore[no-any-return]

    @torch.inference_mode()
    def write(self) -> None:
        """Some steps: a token more in every slot, nothing more in those that have ended."""
        slot_B = self._places.slot_B[: self.size]
        for _ in range(_STEPS_BLIND[self.kind]):
            self._steps += 1
            needed = self._steps + self._farthest
            num_keys = min(needed + -needed % _KEY_STEPS[self.kind], self._places.width)
            self._clear(num_keys)
            key = self.size, num_keys
            self._take(slot_B, self._chosen(range(self.size), self._replay(key, partial(self._step, *key))))

    def _chosen(self, slots: Sequence[int], logits_BV: torch.Tensor) -> torch.Tensor:
        """The next token (B,) of these slots, by the rules of each slot's row."""
        if self._rules is None:
            return self._choose(logits_BV)
        logits_BV = logits_BV.to(torch.float32, copy=True)
        ages, done = self._age_B.tolist(), self._done_B.tolist()
        for place, slot in enumerate(slots):
            row = self._row[slot]
            if row is not None and not done[slot]:
                processors, prompt_T = self._ruled[row]
                seen_1T = torch.cat((prompt_T, self._written_BN[slot, : ages[slot]]))[None]
                logits_BV[place] = processors(seen_1T, logits_BV[place][None])[0]
        return self._choose(logits_BV)

    def _clear(self, num_keys: int) -> None:
        """Put numbers where no row has been yet: a masked value counts 0 times, which a NaN would survive."""
        places = self._places
        if num_keys > places.num_clear:
            start, places.num_clear = places.num_clear, min(num_keys + _CLEARED_AT_ONCE, places.width)
            layers: Any = self._cache.layers
            for layer in layers:
                layer.clear(start, places.num_clear)

    def _step(self, num_slots: int, num_keys: int) -> torch.Tensor:
        """Logits (B, V) after the last token of each slot."""
        places = self._places
        places.num_keys = num_keys
        position_B1 = places.key_B[:num_slots, None]
        logits_B1V: torch.Tensor = self._model(
            input_ids=self._token_B1[:num_slots],
            attention_mask=places.mask(self._model, num_slots),
            position_ids=position_B1,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits
        return logits_B1V[:, -1]

    def _take(self, slot_B: torch.Tensor, token_B: torch.Tensor) -> None:
        """Write a token into each slot; its key's place is the next one."""
        ended_B, age_B = self._done_B[slot_B], self._age_B[slot_B]
        self._written_BN[slot_B, age_B] = token_B
        self._token_B1[slot_B, 0] = token_B
        age_B += ~ended_B
        self._age_B[slot_B] = age_B
        self._places.key_B[slot_B] += ~ended_B
        self._done_B[slot_B] = ended_B | torch.isin(token_B, self._stops) | (age_B >= self._max_new)

    def due(self) -> bool:
        """Whether so many rows have ended that it pays to let them leave."""
        return self.size - int(self._done_B[: self.size].sum()) <= _CHANGE_BELOW * self.size

    def leave(self) -> dict[int, list[int]]:
        """The tokens of the rows that have ended, whose slots are free from here on."""
        done, ages = self._done_B[: self.size].tolist(), self._age_B[: self.size].tolist()
        slots = [slot for slot in range(self.size) if done[slot] and self._row[slot] is not None]
        written = self._written_BN[slots].tolist()
        found = {}
        for slot, tokens in zip(slots, written, strict=True):
            row, self._row[slot] = self._row[slot], None
            assert row is not None
            found[row] = tokens[: ages[slot]]
            self._ruled.pop(row, None)
        self._look()
        return found

    def _look(self) -> None:
        taken = (begin for begin, row in zip(self._begin, self._row, strict=True) if row is not None)
        self._farthest = max(taken, default=0)

    @torch.inference_mode()
    def close_free(self) -> None:
        """Move the rows together when many slots in use are free."""
        busy = [slot for slot in range(self.size) if self._row[slot] is not None]
        if len(busy) > _CHANGE_BELOW * self.size:
            return
        kept_B = torch.tensor(busy, dtype=torch.long, device=self._token_B1.device)
        for tensor in (self._token_B1, self._age_B, self._done_B, self._written_BN, self._places.key_B):
            tensor[: len(busy)] = tensor[kept_B]
        layers: Any = self._cache.layers
        for layer in layers:
            layer.keep(kept_B)
        free = len(self._row) - len(busy)
        self._row = [*(self._row[slot] for slot in busy), *[None] * free]
        self._begin = [*(self._begin[slot] for slot in busy), *[0] * free]
        self.size = len(busy)
        self._replay = CudaGraphCache(self._replay.on)  # no step of the old size comes again


class SlotPositions:
    """Where keys and values go, and which of them a step sees; all layers share it."""

    def __init__(self, capacity: int, width: int, device: torch.device) -> None:
        self.capacity, self.width = capacity, width
        self.num_keys, self.num_clear = 0, 0  # key positions that a step sees, and that hold numbers
        self.slot_B = torch.arange(capacity, device=device)
        self.key_B = torch.zeros(capacity, dtype=torch.long, device=device)  # place of each slot's next key
        self.entering_R: torch.Tensor | None = None  # slots of the prompts that pass the model
        self._key_K = torch.arange(width, device=device)

    def mask(self, model: PreTrainedModel, num_slots: int) -> torch.Tensor:
        """What the next token of each slot sees (B, 1, 1, K): its own row's keys and itself."""
        seen_B1K = self._key_K[: self.num_keys] <= self.key_B[:num_slots, None, None]
        return attention_mask(model, seen_B1K)


class SlotLayer(DynamicLayer):
    """One layer's keys and values (B, H, K, D) of all slots."""

    _buffers: tuple[torch.Tensor, torch.Tensor]

    def __init__(self, places: SlotPositions) -> None:
        super().__init__()
        self._places = places

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the keys and values (R, H, T, D) of prompts, or (B, H, 1, D) of a step; those to look at."""
        places, states = self._places, (key_states, value_states)
        if not self.is_initialized:
            self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            self._buffers = tuple(  # type: ignore[assignment]
                new.new_empty(places.capacity, new.shape[1], places.width, new.shape[3]) for new in states
            )
            self.clear(0, places.num_clear)
        if places.entering_R is not None:
            for buffer, new in zip(self._buffers, states, strict=True):
                buffer[places.entering_R, :, : new.shape[2]] = new
            return key_states, value_states
        num_slots = len(key_states)
        slot_B, key_B = places.slot_B[:num_slots], places.key_B[:num_slots]
        for buffer, new in zip(self._buffers, states, strict=True):
            buffer[slot_B, :, key_B] = new[:, :, 0]
        keys, values = (buffer[:num_slots, :, : places.num_keys] for buffer in self._buffers)
        return keys, values

    def get_seq_length(self) -> int:
        """Prompts have nothing before them; a step brings its own mask and positions."""
        return 0

    def clear(self, start: int, stop: int) -> None:
        """Zeros at these key positions."""
        for buffer in self._buffers:
            buffer[:, :, start:stop] = 0

    def keep(self, slots: torch.Tensor) -> None:
        """Move these slots to the front."""
        for buffer in self._buffers:
            buffer[: len(slots), :, : self._places.num_clear] = buffer[slots, :, : self._places.num_clear]
