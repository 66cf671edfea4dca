"""How the passes of one model use the cores of a CPU: two at a time, or one on as many threads as are faster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch

from unlearn_core.models.inference.forward import computing_dtype, device_of, unwrap
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.positions import scaled_from
from unlearn_core.models.inference.trials import sample_ids
from unlearn_core.system.machine import distributed, threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = TypeVar("Found")
_FEW, _TRIED_TOKENS = 50_000_000, 64  # parameters of a model that is tried on several rows, and tokens of a row
_TRIED_LOGITS = 2**21


def can_pass_together(model: PreTrainedModel, longest: int) -> bool:
    """Whether two passes over rows of at most `longest` tokens may be under way in the model at a time.

    Not on a GPU, where one fills the device, nor where a pass changes what another meets: in one of several
    processes, where copies of the weights stand in for them (see `models.precision`), where a second model has its say
    in each pass, and where rotary frequencies follow the length.
    """
    inner = unwrap(model)
    if device_of(model).type != "cpu" or distributed.size() > 1 or front_of(inner).combines:
        return False
    copies = any(p.is_floating_point() and p.dtype != computing_dtype(inner) for p in inner.parameters())
    return not copies and longest <= scaled_from(inner)


def side_by_side(model: PreTrainedModel, calls: Sequence[Callable[[], Found]], longest: int) -> list[Found]:
    """What the calls give, in their order: each a pass of the model over rows of at most `longest` tokens."""
    return threads.side_by_side(calls) if can_pass_together(model, longest) else [call() for call in calls]


def in_turns(model: PreTrainedModel, results: Sequence[Iterator[Found]], longest: int) -> Iterator[Found]:
    """What several passes over rows of at most `longest` tokens give, one result of each at a time."""
    under_way = list(results)
    while under_way:
        calls = [partial(next, each, None) for each in under_way]
        found = side_by_side(model, calls, longest)
        under_way = [each for each, one in zip(under_way, found, strict=True) if one is not None]
        yield from (one for one in found if one is not None)


def choose_threads(model: PreTrainedModel) -> None:
    """Use one thread or two for the operations that are shared, whichever is faster now. A GPU does not wait for
    threads.

    Where passes go side by side, losses over the vocabulary are shared: few operations, each long. Where they cannot,
    the passes themselves are: a few rows are tried, fewer of a large model.
    """
    if model.device.type != "cpu":
        return
    if can_pass_together(model, _TRIED_TOKENS):
        vocabulary = model.config.get_text_config().vocab_size
        logits_NV = torch.zeros(max(1, _TRIED_LOGITS // vocabulary), vocabulary, requires_grad=True)
        with torch.enable_grad():
            threads.faster_of_two(lambda: logits_NV.log_softmax(-1)[:, 0].sum().backward())
        return
    rows = 16 if sum(p.numel() for p in model.parameters()) < _FEW else 1
    ids = torch.tensor([sample_ids(model, _TRIED_TOKENS)] * rows)
    with torch.no_grad():
        threads.faster_of_two(lambda: model(input_ids=ids, use_cache=False))
