"""Next-token predictions for prompts that begin alike: the shared beginning is computed once.

Five-shot prompts of one subject share some 700 tokens. Each prompt is tokenised as a whole, and what is
reused is the longest beginning that all token rows have in common, so predictions are those of the
whole prompts whatever the tokenizer does at the seam.
Legend: B rows, P shared positions, S positions of the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from unlearn_core.models.generation.cache import GrowingCache
from unlearn_core.models.generation.generate import is_plain, token_budget
from unlearn_core.models.generation.masks import attention_mask, causal, left_pad
from unlearn_core.models.inference.forward import device_of, rewind, unwrap
from unlearn_core.models.inference.positions import fitted
from unlearn_core.models.inference.trials import holds, plain_logits, same, sample_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MIN_SHARED = 8  # below this a cache is not worth its copy
_TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65536}


def next_token_logits(
    model: PreTrainedModel,
    rows: Sequence[Sequence[int]],
    token_ids: Sequence[int],
    pad_id: int,
    *,
    reuse: bool = True,
) -> Iterator[tuple[list[int], torch.Tensor]]:
    """For each batch: the places of its rows, and the logits (B, len(token_ids)) of the tokens asked about.

    `reuse` off recomputes the beginning for every row; on float32 the answers are the same.
    """
    longest = max((len(row) for row in rows), default=0)
    plain = is_plain(model, longest) and holds(unwrap(model), "beginnings may be shared", _beginning_is_shared)
    shared = _common_prefix(rows) if reuse and plain else 0
    shared = shared if shared >= _MIN_SHARED else 0
    cache = _prefill(model, rows[0][:shared]) if shared else None
    columns = torch.tensor(list(token_ids), device=device_of(model))
    for places in _batches(model, [len(row) for row in rows], shared, plain):
        rest = [rows[place][shared:] for place in places]
        if plain:
            logits = _continue_from(model, rest, cache, shared, pad_id)
        else:
            logits = _whole(model, rest[0])
        yield places, logits[:, columns].float().cpu()


def _beginning_is_shared(model: PreTrainedModel) -> bool:
    """Two rows padded on the left behind a beginning in the cache, beside each whole and alone."""
    begin, rest = sample_ids(model, 5), [sample_ids(model, length, 3 * length) for length in (4, 2)]
    ours_BV = _continue_from(model, rest, _prefill(model, begin), len(begin), 0)
    return all(same(row_V, plain_logits(model, begin + own)[-1]) for row_V, own in zip(ours_BV, rest, strict=True))


def _common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Tokens that all rows begin with, leaving each at least one of its own."""
    if len(rows) < 2:
        return 0
    first, last = min(map(tuple, rows)), max(map(tuple, rows))  # in sorted order, these two differ soonest
    limit = min(len(row) for row in rows) - 1
    for place in range(limit):
        if first[place] != last[place]:
            return place
    return limit


def _batches(model: PreTrainedModel, lengths: list[int], shared: int, plain: bool) -> Iterator[list[int]]:
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    kind = "cpu" if device_of(model).type == "cpu" else "cuda"
    memory = token_budget(model) if plain else 0
    start = 0
    while start < len(order):
        width = lengths[order[start]]
        size = min(_TOKENS_PER_BATCH[kind] // max(1, width - shared), memory // width)
        places = order[start : start + max(1, size)]
        yield places
        start += len(places)


@torch.inference_mode()
def _prefill(model: PreTrainedModel, row: Sequence[int]) -> GrowingCache:
    cache = GrowingCache()
    ids = torch.tensor([list(row)], device=device_of(model))
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


@torch.inference_mode()
def _continue_from(
    model: PreTrainedModel, rest: Sequence[Sequence[int]], prefix: GrowingCache | None, shared: int, pad_id: int
) -> torch.Tensor:
    """Logits (B, V) after each row, whose first `shared` tokens are in `prefix`."""
    ids_BS, real_BS = left_pad(rest, pad_id, device_of(model))
    allowed_BSS = causal(real_BS)
    seen_BSP = allowed_BSS.new_ones((*ids_BS.shape, shared))
    mask = attention_mask(model, torch.cat((seen_BSP, allowed_BSS), dim=-1))
    cache = prefix.expanded(len(rest), ids_BS.shape[1]) if prefix else None
    logits: torch.Tensor = model(
        input_ids=ids_BS,
        attention_mask=mask,
        logits_to_keep=1,
        position_ids=shared + (real_BS.cumsum(-1) - 1).clamp(min=0),
        past_key_values=cache,
        use_cache=cache is not None,
    ).logits
    return logits[:, -1]


@torch.inference_mode()
def _whole(model: PreTrainedModel, row: Sequence[int]) -> torch.Tensor:
    """Logits (1, V) of one row, for architectures that must see it whole; without its front, if too long."""
    row, _ = fitted(unwrap(model), row, 0)
    rewind(model, len(row))
    logits: torch.Tensor = model(torch.tensor([list(row)], device=device_of(model))).logits
    return logits[:, -1]
