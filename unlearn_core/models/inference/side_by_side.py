"""Several passes of one model at a time, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.models.inference.forward import computing_dtype, device_of, unwrap
from unlearn_core.models.inference.positions import scaled_from
from unlearn_core.system.machine import distributed, threads

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = TypeVar("Found")


def can_pass_together(model: PreTrainedModel, longest: int) -> bool:
    """Whether two passes over rows of at most `longest` tokens may be under way in the model at a time.

    Not on a GPU, where one fills the device, nor where a pass changes what another meets: in one of several
    processes, where copies of the weights stand in for them (see `models.precision`), and where rotary frequencies
    follow the length.
    """
    inner = unwrap(model)
    copies = any(p.is_floating_point() and p.dtype != computing_dtype(inner) for p in inner.parameters())
    return device_of(model).type == "cpu" and distributed.size() == 1 and not copies and longest <= scaled_from(inner)


def side_by_side(model: PreTrainedModel, calls: Sequence[Callable[[], Found]], longest: int) -> list[Found]:
    """What the calls give, in their order: each a pass of the model over rows of at most `longest` tokens."""
    return threads.side_by_side(calls) if can_pass_together(model, longest) else [call() for call in calls]
