"""What trains in a run, and how the model gets back to what it was."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from unlearn_core.models.adapters import LORA_FROM, apply_lora, choose_adapter, lora_layers, remove_lora
from unlearn_core.models.artifacts import Adapter, Artifact, DenseDelta

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Trainable:
    """Full weights or a LoRA adapter, ready to train.

    For full weights the old values are copied once, and become the artifact's; they are the only second
    copy of any weight.
    """

    def __init__(
        self, model: PreTrainedModel, adapter: str | None, rank: int, seed: int,
        only: str | None = None,
    ) -> None:  # fmt: skip
        assert not any(lora_layers(model)), "release the artifact of the run before"
        self._model = model
        self.is_large = sum(p.numel() for p in model.parameters()) >= LORA_FROM
        self._was_training = model.training
        self._required = [(p, p.requires_grad) for p in model.parameters()]
        self._artifact: Artifact | None = None
        self.wrapped: PeftModel | None = None
        self._old: dict[str, torch.Tensor] = {}
        self.kind = choose_adapter(model, adapter, only)
        if self.kind == "lora":
            self.wrapped = apply_lora(model, rank, seed=seed)
        elif self.kind == "full":
            for parameter in model.parameters():
                parameter.requires_grad_(True)
            self._old = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.eval()
        trains = self.kind != "none"
        self.parameters = [p for p in model.parameters() if p.requires_grad] if trains else []

    @property
    def adapter_off(self) -> Callable[[], AbstractContextManager[None]] | None:
        """Switches the adapter off for the length of a `with`; None for full weights."""
        return self.wrapped.disable_adapter if self.wrapped is not None else None

    def artifact(self) -> Artifact:
        """The change so far, applied to the model."""
        if self.wrapped is not None:
            self._artifact = Adapter(self.wrapped)
        else:
            self._artifact = DenseDelta(self._model, self._old)
        return self._artifact

    def close(self, restore: bool) -> None:
        """Leave nothing of training behind; with `restore` the weights become the original ones too."""
        for parameter in self.parameters:
            parameter.grad = None
        if restore and self._artifact is not None:
            self._artifact.revert()  # an artifact of the last good weights stays usable
        elif restore and self.wrapped is not None:
            remove_lora(self.wrapped)
        elif restore:
            parameters = dict(self._model.named_parameters())
            with torch.no_grad():
                for name, old in self._old.items():
                    parameters[name].copy_(old)
        for parameter, required in self._required:
            parameter.requires_grad_(required)
        self._model.train(self._was_training)
