"""What trains in a run, and how the model gets back to what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import torch

from unlearn_core.models.adapters import LORA_FROM, apply_lora, choose_adapter, lora_layers, remove_lora
from unlearn_core.models.artifacts import Adapter, Artifact, DenseDelta
from unlearn_core.models.precision import compute_in, hold_in, training_dtype

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel


class Trainable:
    """Full weights or a LoRA adapter, ready to train in float32 (see `models.precision`).

    Of either, only the parameters whose names `trains` accepts. For full weights their old values are
    copied once, in the type the model came in, and become the artifact's.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        adapter: str | None,
        rank: int,
        seed: int,
        only: str | None = None,
        trains: Callable[[str], bool] = lambda name: True,
    ) -> None:
        assert not any(lora_layers(model)), "release the artifact of the run before"
        self.model = model
        self.is_large = self.recomputes = sum(p.numel() for p in model.parameters()) >= LORA_FROM
        self._was_training = model.training
        self._required = [(p, p.requires_grad) for p in model.parameters()]
        self._artifact: Artifact | None = None
        self.wrapped: PeftModel | None = None
        self._old: dict[str, torch.Tensor] = {}
        self.came_in, computing = model.dtype, training_dtype(model)
        self.kind = choose_adapter(model, adapter, only)
        if self.kind == "lora":
            # Not at the top: peft takes its time to import.
            from unlearn_core.models.memory_efficient_lora import save_activation_memory

            self.wrapped = apply_lora(model, rank, seed=seed, trains=trains)
            save_activation_memory(self.wrapped)
        elif self.kind == "full":
            for parameter in model.parameters():
                parameter.requires_grad_(True)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(self.kind != "none" and parameter.requires_grad and trains(name))
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.parameters = list(self.named.values())
        if self.wrapped is None:
            self._old = {name: p.detach().clone() for name, p in self.named.items()}
        if self.kind == "full":
            hold_in(model, torch.float32)
        self._end = (lambda: None) if self.kind == "none" else compute_in(model, computing)
        model.eval()

    @property
    def adapter_off(self) -> Callable[[], AbstractContextManager[None]] | None:
        """Switches the adapter off for the length of a `with`; None for full weights."""
        return self._switched_off if self.wrapped is not None else None

    @contextmanager
    def _switched_off(self) -> Iterator[None]:
        assert self.wrapped is not None
        with self.wrapped.disable_adapter():
            yield
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.named)  # peft lets all of the adapter train again

    def artifact(self) -> Artifact:
        """The change so far, applied to the model."""
        if self.wrapped is not None:
            self._artifact = Adapter(self.wrapped)
        else:
            self._artifact = DenseDelta(self.model, self._old)
        return self._artifact

    def close(self, restore: bool) -> None:
        """Leave nothing of training behind; with `restore` the weights become the original ones too."""
        self._end()
        for parameter in self.parameters:
            parameter.grad = None
        if restore and self._artifact is not None:
            self._artifact.revert()  # an artifact of the last good weights stays usable
        elif restore and self.wrapped is not None:
            remove_lora(self.wrapped)
        elif restore:
            parameters = dict(self.model.named_parameters())
            with torch.no_grad():
                for name, old in self._old.items():
                    parameters[name].copy_(old)
        if restore:
            hold_in(self.model, self.came_in)
        for parameter, required in self._required:
            parameter.requires_grad_(required)
        self.model.train(self._was_training)
