"""How many positions a model has, and up to which length each of them is treated alike.

Both are read from the configuration: a few tokens cannot show what happens behind the thousandth.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

UNBOUNDED = sys.maxsize
_WINDOWS = {"full_attention": None, "sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
_SIZES = ("max_position_embeddings", "n_positions", "n_ctx", "max_target_positions", "max_seq_len")
_SCALED = ("dynamic", "longrope")


def max_positions(model: PreTrainedModel) -> int | None:
    """Positions that the model has a number or a bias for; a longer sequence is an index error.

    None where positions are computed and not looked up (rotary) or where there are none (state-space models).
    """
    computed = any(name.endswith("inv_freq") for name, _ in model.named_buffers())
    return None if computed else context_length(model)


def context_length(model: PreTrainedModel) -> int | None:
    """The length that the model was made for, whatever it does beyond; None where it names none."""
    config = model.config.get_text_config()
    found = (getattr(config, name, None) for name in _SIZES)
    return next((int(size) for size in found if isinstance(size, int) and size > 0), None)


def uniform_up_to(model: PreTrainedModel) -> int:
    """The length up to which every layer sees all that came before; 0 for layers of another kind.

    Up to it a mask of our own, or rows of other lengths beside it, change nothing for a row.
    """
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - set(_WINDOWS):
        return 0
    limits = [scaled_from(model)]
    if not kinds and getattr(config, "use_sliding_window", True):
        kinds = {"sliding_attention"}  # a window without a list of layers is every layer's
    for kind in kinds:
        size = getattr(config, _WINDOWS[kind] or "", None)
        if isinstance(size, int) and size > 0:
            limits.append(size)
    return min(limits)


def scaled_from(model: PreTrainedModel) -> int:
    """The length from which rotary frequencies depend on the longest row of a batch; UNBOUNDED for never.

    Dynamic scaling (Peng et al., arXiv 2309.00071) and LongRoPE (arXiv 2402.13753).
    """
    config = model.config.get_text_config()
    sizes = [
        size - 1
        for settings in _rope_settings(getattr(config, "rope_parameters", None))
        if settings.get("rope_type", settings.get("type")) in _SCALED
        for size in (settings.get("original_max_position_embeddings"), config.max_position_embeddings)
        if isinstance(size, int)
    ]
    return min(sizes, default=UNBOUNDED)


def cached_values(config: PreTrainedConfig) -> int:
    """Values that keys and values of one position take in the cache of all layers, of a text configuration."""
    own = getattr(config, "per_layer_config", None)  # where layers differ, each has one of its own
    layers = [own[number] for number in range(len(own))] if own else [config] * config.num_hidden_layers
    return sum(2 * key_value_heads(layer) * head_width(layer) for layer in layers)


def key_value_heads(config: PreTrainedConfig) -> int:
    """Heads of keys and values, which may be fewer than those of queries."""
    return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)


def head_width(config: PreTrainedConfig) -> int:
    """Units of one head's queries and keys."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _rope_settings(found: object) -> Iterator[Mapping[str, Any]]:
    """The settings of every kind of layer."""
    if isinstance(found, Mapping):
        nested = [value for value in found.values() if isinstance(value, Mapping)]
        yield from nested or [found]


def fitted(model: PreTrainedModel, ids: Sequence[int], max_new: int) -> tuple[list[int], int]:
    """A prompt and how much may be written after it, within the model's positions.

    A prompt that fits stays whole and its answer ends where the positions do; of a longer one the front goes,
    so that half of them at most are left for the answer.
    """
    limit = max_positions(model)
    if limit is None or len(ids) + max_new <= limit:
        return list(ids), max_new
    if len(ids) >= limit:
        ids = ids[len(ids) - limit + min(max_new, limit // 2) :]
    return list(ids), min(max_new, limit - len(ids))
