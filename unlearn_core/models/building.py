"""Threads that make a model take turns.

While transformers makes one, it puts empty functions in the place of torch's initialisers and of its own
`tie_weights`, for the whole process. A second thread would make a model whose head is not tied to its
embedding, and, leaving later than the first, would put the empty functions back for good.

accelerate fills an empty model from files, through transformers, and casts what it fills it with; here the tensors
are at hand, and stay the very same.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.models.inference.forward import unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_turn = threading.Lock()


@contextmanager
def building() -> Iterator[None]:
    """Held while a model is made, from files or from a configuration."""
    with _turn:
        yield


def hollow_copy(model: PreTrainedModel, config: PreTrainedConfig | None = None) -> PreTrainedModel:
    """A model of the class and type of `model`, with its configuration or another, that takes no memory."""
    with building(), torch.device("meta"):
        made: Any = type(model)(config if config is not None else model.config)
    hollow: PreTrainedModel = made.to(model.dtype).eval()
    return hollow


def holding(model: Any, state: Mapping[str, torch.Tensor], config: PreTrainedConfig | None = None) -> PreTrainedModel:
    """A model of the class of `model` (and its configuration, where none is given) whose weights are the very
    tensors of `state`; none is allocated or drawn first. Buffers that are not saved are those of `model`."""
    inner = unwrap(model)
    made = hollow_copy(inner, config)
    made.load_state_dict({name: state[name] for name in made.state_dict()}, assign=True)
    known = dict(inner.named_buffers())
    for name, buffer in list(made.named_buffers()):
        if buffer.is_meta:
            owner, _, leaf = name.rpartition(".")
            made.get_submodule(owner)._buffers[leaf] = known[name]
    made.tie_weights()
    made.eval()
    return made


def _turn_anew() -> None:
    """A forked process does not wait for a thread of the one it came from."""
    global _turn
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_turn_anew)
