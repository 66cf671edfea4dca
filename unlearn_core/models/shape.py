"""What a model of some configuration weighs, and what one forward pass computes and keeps.

Nothing is loaded: a one- and a two-layer model of the same shape are built without storage (torch's meta
device), one short row is traced through them, and the rest are layers and positions like those.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import torch
from torch.autograd.function import FunctionCtx

from unlearn_core.models.adapters import apply_lora
from unlearn_core.models.building import building
from unlearn_core.models.inference.forward import body_and_head, unwrap
from unlearn_core.models.inference.positions import cached_values
from unlearn_core.models.precision import hold_in

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_ATTENTION = "lethe_traced"
_TRACED = 64  # positions of the row that is traced


class BodyPass(NamedTuple):
    """One forward pass below the output head, and the model it goes through."""

    num_parameters: int
    num_trained: int
    kept_bytes: int  # for the backward pass
    flops: int  # of the matrix products, attention included


def standing(num_parameters: int, num_trained: int, dtype: torch.dtype, adapter: str) -> dict[str, int]:
    """Bytes by purpose that training takes whatever the batch, AdamW's two moments among them.

    What trains is float32 (see `precision`). The weights are kept as they were, so that a run can go back; an
    adapter is merely taken off.
    """
    before, added = num_parameters * dtype.itemsize, 4 * num_trained
    weights, kept = (4 * num_parameters, before) if adapter == "full" else (before + added, 0)
    return {"weights": weights, "weights before the run": kept, "optimiser": 2 * added, "gradients": added}


@dataclass(frozen=True)
class Shape:
    """A causal language model's configuration, the type of its weights, and what would be trained of it.

    trains: of an adapter, the weights it is put on, by name and number of layers (see `TrainsSubset`); None for all.
    """

    config: PreTrainedConfig
    dtype: torch.dtype
    adapter: str = "full"
    rank: int = 16
    trains: Callable[[str, int], bool] | None = None

    @property
    def text(self) -> Any:
        return self.config.get_text_config()

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values of one position."""
        return cached_values(self.text) * self.dtype.itemsize

    def trace(self, positions: int, pairs: int, recompute: bool = False) -> BodyPass:
        """The sizes of a pass of so many positions through the whole model, where attention compares `pairs`
        of them: B rows of T positions are B x T^2 pairs.

        All but attention's products grows with the number of positions, also what fused attention keeps. With
        `recompute` every layer keeps its input alone, and one at a time what it computes again from that.
        """
        (one, two), layers, upper = self._rows, self.text.num_hidden_layers, self.num_upper
        found = BodyPass(*(a + (layers - 1) * (b - a) for a, b in zip(one, two, strict=True)))
        if upper < layers:  # nothing of those below is kept
            trained, kept = (a + (upper - 1) * (b - a) for a, b in list(zip(one, two, strict=True))[1:3])
            found = found._replace(num_trained=trained, kept_bytes=kept)
        kept = found.kept_bytes
        if recompute:
            kept = one.kept_bytes + upper * _TRACED * self.text.hidden_size * self.dtype.itemsize
        factor = positions / _TRACED
        attention = 4 * pairs * self.text.hidden_size * layers
        return found._replace(kept_bytes=round(kept * factor), flops=round(found.flops * factor) + attention)

    @cached_property
    def num_upper(self) -> int:
        """Layers from the lowest that trains upward: no gradient goes below, and what is there is computed once."""
        layers: int = self.text.num_hidden_layers
        return layers - next(iter(self._trained_layers), 0)

    @cached_property
    def _trained_layers(self) -> list[int]:
        """The layers that an adapter is put on, where not all are."""
        if self.trains is None or self.adapter != "lora":
            return []
        layers = self.text.num_hidden_layers
        names = [name for name, _ in _hollow(self.config, 1, self.dtype).named_parameters()]
        return [n for n in range(layers) if any(self.trains(_in_layer(name, n), layers) for name in names)]

    @cached_property
    def _rows(self) -> tuple[BodyPass, BodyPass]:
        """The sizes of one row of _TRACED positions through one layer and through two, attention's products
        left out."""
        return self._traced(1), self._traced(2)

    def _adapts(self, name: str) -> bool:
        """Whether an adapter is put on a weight, in the layers where one is put on any."""
        if self.trains is None or not self._trained_layers:
            return True
        return self.trains(_in_layer(name, self._trained_layers[0]), self.text.num_hidden_layers)

    def _traced(self, num_layers: int) -> BodyPass:
        from torch.utils.flop_counter import FlopCounterMode

        model = _hollow(self.config, num_layers, self.dtype)
        if self.adapter == "lora":
            from unlearn_core.models.memory_efficient_lora import save_activation_memory

            save_activation_memory(apply_lora(model, self.rank, trains=self._adapts))
            hold_in(model, self.dtype)  # as it computes
        trained = [p for p in model.parameters() if p.requires_grad]
        base = {id(p): p for p in model.parameters() if self.adapter == "full" or not p.requires_grad}
        weights = {p.untyped_storage()._cdata for p in model.parameters()}
        kept: dict[int, torch.UntypedStorage] = {}

        # Neither it nor what it gives back holds a tensor: the graph would hold itself, and is never freed.
        def keep(tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                kept[storage._cdata] = storage  # held, so that no other takes its number

        ids = torch.zeros(1, _TRACED, dtype=torch.long, device="meta")
        inputs = {
            "input_ids": ids,
            "position_ids": ids,
            "use_cache": False,
            "attention_mask": torch.ones(1, 1, _TRACED, _TRACED, dtype=torch.bool, device="meta"),
        }
        split = body_and_head(model)
        body = split[0] if split else unwrap(model)
        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda nothing: nothing),
            FlopCounterMode(display=False) as counter,
        ):
            body(**inputs)
        return BodyPass(
            sum(p.numel() for p in base.values()),
            sum(p.numel() for p in trained),
            sum(storage.nbytes() for storage in kept.values()),
            int(counter.get_total_flops()),
        )


def _in_layer(name: str, number: int) -> str:
    """The name of the same weight in another layer."""
    return re.sub(r"((?:^|\.)(?:layers|h|blocks)\.)\d+\.", rf"\g<1>{number}.", name)


def _hollow(config: PreTrainedConfig, num_layers: int, dtype: torch.dtype) -> PreTrainedModel:
    """A model of `num_layers` layers without storage."""
    from transformers import AttentionInterface, AutoModelForCausalLM

    AttentionInterface.register(_ATTENTION, _attend)
    small = copy.deepcopy(config)
    text = small.get_text_config()
    text.num_hidden_layers = num_layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:num_layers]
    with building(), torch.device("meta"):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(small, attn_implementation=_ATTENTION, dtype=dtype)
        model.eval()
    return model


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: object,
    **settings: object,
) -> tuple[torch.Tensor, None]:
    """Stands for fused attention: the right shape, and what its backward pass keeps."""
    return _Fused.apply(query, key, value).transpose(1, 2), None


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(context: FunctionCtx, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        out = torch.empty(
            (*query.shape[:1], query.shape[2], query.shape[1], query.shape[3]),
            dtype=query.dtype,
            device=query.device,
        ).transpose(1, 2)
        sums = query.new_empty(query.shape[:3], dtype=torch.float32)
        context.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(context: FunctionCtx, *slopes: torch.Tensor) -> NoReturn:
        raise NotImplementedError("only traced")
