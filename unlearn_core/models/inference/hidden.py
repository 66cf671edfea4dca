"""Inside a forward pass: end it at a layer, shift what enters one, or keep what some put out.

All by hooks on the model's own layers, so no architecture needs code of its own. A hook acts in the thread that put
it there alone: another thread may pass the same model meanwhile.
Legend: B rows, T positions, M tokens, D hidden.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.models.inference.forward import layers, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class _Reached(Exception):
    def __init__(self, hidden_BTD: torch.Tensor) -> None:
        self.hidden_BTD = hidden_BTD


def hidden_after(model: PreTrainedModel, layer: int, inputs: Mapping[str, object]) -> torch.Tensor:
    """The output (B, T, D) of layer `layer` (from 0); what lies above it is not computed."""

    own = threading.get_ident()

    def stop(module: torch.nn.Module, args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        if threading.get_ident() == own:
            raise _Reached(output[0] if isinstance(output, tuple) else output)

    handle = layers(model)[layer].register_forward_hook(stop)
    inner = unwrap(model)
    try:
        getattr(inner, inner.base_model_prefix, inner)(**inputs)
    except _Reached as reached:
        return reached.hidden_BTD
    finally:
        handle.remove()
    raise AssertionError("the model did not pass its own layer")


@contextmanager
def collected(model: PreTrainedModel, numbers: Sequence[int]) -> Iterator[list[torch.Tensor]]:
    """What the layers `numbers`, ascending, put out (B, T, D) in a pass inside the `with`."""
    found: list[torch.Tensor] = []
    own = threading.get_ident()

    def keep(module: torch.nn.Module, args: object, output: torch.Tensor | tuple[torch.Tensor, ...]) -> None:
        if threading.get_ident() == own:
            found.append(output[0] if isinstance(output, tuple) else output)

    with ExitStack() as hooks:
        for number in numbers:
            hooks.callback(layers(model)[number].register_forward_hook(keep).remove)
        yield found


@contextmanager
def shifted(model: PreTrainedModel, layer: int, places_M: torch.Tensor, shift_MD: torch.Tensor) -> Iterator[None]:
    """Add `shift_MD` to what enters layer `layer` at the flat positions `places_M`, inside the `with`."""

    def add(hidden_BTD: torch.Tensor) -> torch.Tensor:
        return hidden_BTD.flatten(0, 1).index_add(0, places_M, shift_MD.to(hidden_BTD.dtype)).view_as(hidden_BTD)

    with entered(model, layer, add):
        yield


@contextmanager
def entered(model: PreTrainedModel, layer: int, changed: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """Let layer `layer` be entered by what `changed` makes of its hidden states, inside the `with`."""

    own = threading.get_ident()

    def enter(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if threading.get_ident() != own:
            return None
        if args:
            return (changed(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"])}

    handle = layers(model)[layer].register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
