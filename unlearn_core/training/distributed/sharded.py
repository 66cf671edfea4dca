"""Training a model whose weights, gradients and optimiser are spread over the processes of a team.

FSDP2 (torch's `fully_shard`): each process holds an equal share of every layer and gathers a layer only
while it computes. The model that came in stays whole, in the host's memory meanwhile; it is both the copy
of the old weights that an artifact needs and the place where the new ones are gathered.

accelerate reads what its launcher was told. Its `fsdp2_prepare_model` is not used: it gathers the head within the
model's own forward pass, and ours is called outside of that, on the rows of each loss alone.
"""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from unlearn_core.errors import InputError
from unlearn_core.models.adapters import LORA_FROM, NAME, apply_lora, choose_adapter, lora_layers
from unlearn_core.models.artifacts import Adapter, Artifact, DenseDelta
from unlearn_core.models.building import hollow_copy
from unlearn_core.models.inference.forward import body_and_head, unwrap
from unlearn_core.models.precision import compute_in, hold_in, rounded, training_dtype
from unlearn_core.models.split import is_split, put, whole
from unlearn_core.training.trainable import Trainable

if TYPE_CHECKING:
    from accelerate import FullyShardedDataParallelPlugin
    from peft import PeftModel
    from transformers import PreTrainedModel


class ShardedTrainable(Trainable):
    """The same for a team: `model` trains, its parameters are this process's share."""

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: str | None,
        rank: int,
        seed: int,
        only: str | None = None,
        trains: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self._whole, self._rank, self._seed = model, rank, seed
        self.is_large = sum(p.numel() for p in model.parameters()) >= LORA_FROM
        kind = self.kind = choose_adapter(model, adapter, only)
        if kind not in ("full", "lora"):
            raise InputError("adapter", kind, "is not shared by several processes", "Use one process.")
        wanted, device = settings(), model.device
        self.recomputes = self.is_large or wanted.activation_checkpointing
        self._split = is_split(model)
        self.model = hollow_copy(model) if self._split else copy.deepcopy(model)
        if device.type != "cpu" and not self._split:
            model.to("cpu")  # type: ignore[arg-type]
        self.wrapped: PeftModel | None = None
        self.came_in, computing = model.dtype, training_dtype(model)
        if kind == "lora":
            self.wrapped = apply_lora(self.model, rank, seed=seed)
        else:
            hold_in(self.model, torch.float32)
            for parameter in self.model.parameters():
                parameter.requires_grad_(True)
        compute_in(self.model, computing)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and trains(name))
        self.model.eval()
        self._device = device
        shard(self.model, wanted)
        if self._split:
            _fill(self.model, model, device, seed)
        self.named = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        self._artifact: Artifact | None = None

    def artifact(self) -> Artifact:
        """The change so far, gathered and applied to the whole model of every process."""
        if self._artifact is not None:
            return self._artifact
        if not self._split:
            self._whole.to(self._device)  # type: ignore[arg-type]
        if self.wrapped is None:
            named = dict(self._whole.named_parameters())
            old = {name: named[name].detach().clone() for name in self.named}
            hold_in(self._whole, torch.float32)
            self._take()
            self._artifact = DenseDelta(self._whole, old)
        elif self._split:
            self._artifact = DenseDelta(self._whole, self._merge())
        else:
            wrapped = apply_lora(self._whole, self._rank, seed=self._seed)
            self._take()
            self._artifact = Adapter(wrapped)
        return self._artifact

    def _merge(self) -> dict[str, torch.Tensor]:
        """Add the adapter to the weights of a model that is split, which cannot carry one; their old values."""
        parameters, old = dict(self._whole.named_parameters()), {}
        for name, layer in lora_layers(self.model):
            weight = parameters[f"{name}.weight"]
            old[f"{name}.weight"] = weight.detach().clone()
            change = whole(layer.lora_B[NAME].weight) @ whole(layer.lora_A[NAME].weight) * layer.scaling[NAME]
            merged = whole(weight).float() + change.to(weight.device)
            put(weight, rounded(merged) if weight.dtype == torch.bfloat16 else merged)
        return old

    def _take(self) -> None:
        """Bring what trained into the model that came in, one tensor after the other."""
        parameters = dict(self._whole.named_parameters())
        for name, value in self.named.items():
            put(parameters[name], whole(value))

    def close(self, restore: bool) -> None:
        """Let go of the shards; with `restore` the whole model is the original one."""
        if restore and self._artifact is not None:
            self._artifact.revert()
        if restore:
            hold_in(self._whole, self.came_in)
        if not self._split:
            self._whole.to(self._device)  # type: ignore[arg-type]
        self.named, self.parameters = {}, []


def settings() -> FullyShardedDataParallelPlugin:
    """How to shard: what the launcher's configuration asks for, which it leaves in the environment.

    DeepSpeed's ZeRO-3 spreads weights, gradients and optimiser as `fully_shard` does, so its configuration
    is carried out with that, and DeepSpeed itself is only the launcher. Its lower stages are refused.
    """
    from accelerate import DeepSpeedPlugin, FullyShardedDataParallelPlugin

    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        zero = DeepSpeedPlugin()
        if zero.zero_stage != 3:
            mend = "Launch with assets/scale/zero3.yaml or fsdp2.yaml."
            raise InputError("launcher", f"ZeRO-{zero.zero_stage}", "does not spread the weights", mend)
        return FullyShardedDataParallelPlugin(fsdp_version=2, cpu_offload=zero.offload_param_device == "cpu")
    try:
        return FullyShardedDataParallelPlugin(fsdp_version=2)
    except ValueError as error:
        mend = "Convert the configuration with `accelerate to-fsdp2`, or launch with assets/scale/fsdp2.yaml."
        raise InputError("launcher", "FSDP", f"cannot be carried out with FSDP2 ({error})", mend) from error


def shard(model: PreTrainedModel, wanted: FullyShardedDataParallelPlugin) -> None:
    """Spread `model` in place: one unit a decoder layer, one for what is around them.

    Calling the model from here on gives the hidden states below the head.
    """
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    inner = unwrap(model)
    split = body_and_head(inner)
    if split is None:
        problem = "changes its logits after the head, which several processes do not support"
        raise InputError("target", type(inner).__name__, problem, "Run it in one process.")
    body, _ = split
    offload = wanted.cpu_offload if inner.device.type != "cpu" else OffloadPolicy()
    if isinstance(offload, CPUOffloadPolicy):
        inner.computes_on = inner.device  # type: ignore[assignment]  # its weights rest on the host between turns
    for layer in body.layers:  # type: ignore[union-attr]
        fully_shard(layer, reshard_after_forward=wanted.reshard_after_forward, offload_policy=offload)
    # The head is called outside the model's own forward, so what is around the layers stays gathered
    # between the forward and the backward pass.
    fully_shard(inner, reshard_after_forward=False, offload_policy=offload)
    inner.forward = lambda **inputs: body(**inputs)
    inner.gives_hidden_states = True  # type: ignore[assignment]


def _fill(model: PreTrainedModel, split: PreTrainedModel, device: torch.device, seed: int) -> None:
    """Give a sharded model that has no storage yet the weights of one that is split, matrix by matrix, and an
    adapter its first values, which are peft's: A drawn, B zero."""
    model.to_empty(device=device)
    known = dict(split.named_parameters())
    drawn = torch.Generator().manual_seed(seed)
    for name, parameter in unwrap(model).named_parameters():
        if "lora_" not in name:
            put(parameter, whole(known[name.replace(".base_layer.", ".")]))
        elif "lora_A" in name:
            first = torch.empty(parameter.shape)
            torch.nn.init.kaiming_uniform_(first, a=math.sqrt(5), generator=drawn)
            put(parameter, first)
        else:
            put(parameter, torch.zeros(parameter.shape))
    buffers = dict(split.named_buffers())
    for name, buffer in unwrap(model).named_buffers():
        buffer.copy_(buffers[name])
