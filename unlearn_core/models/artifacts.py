"""What a run leaves behind: a reversible change to one model, so that side by side costs one model.

    Adapter      low-rank factors beside the weights; strength scales them, 0 switches them off
    DenseDelta   the old values of every weight that trained (and the new ones, once both are needed)
    SparseDelta  the old and new values of single entries, for edits of few weights
    Wrapper      what stands before an unchanged model (see `wrappers.wrapper_artifact`)

Strength 0 is the original model bit for bit and 1 the unlearned one, because values are put back rather
than differences subtracted. One model at a time: the artifact changes the model it was made on.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from unlearn_core.errors import InputError
from unlearn_core.models.adapters import NAME, lora_layers, plain_state, remove_lora, weight_of
from unlearn_core.models.building import hollow_copy
from unlearn_core.models.files.checkpoint import read_weights, write_checkpoint
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.precision import hold_in
from unlearn_core.models.split import gathered, is_split, whole

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Index = torch.Tensor | slice | int


class Artifact(ABC):
    """A reversible change to `model`; it is applied (strength 1) when a run hands it over."""

    kind: str
    limit = 1.0  # the largest strength that makes sense; beyond 1 where the change is a direction

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.strength = 1.0

    def apply(self) -> None:
        """Make the model the unlearned one."""
        self.set_strength(1.0)

    def revert(self) -> None:
        """Make the model the original one, bit for bit."""
        self.set_strength(0.0)

    def set_strength(self, strength: float) -> None:
        """Anything from the original model (0) to the unlearned one (1), and on to `limit`."""
        if not 0.0 <= strength <= self.limit:
            mend = f"Use a number from 0 to {self.limit:g}."
            raise InputError("strength", strength, "is out of range", mend)
        if strength != self.strength:
            with torch.no_grad():
                self._set(float(strength))
            self.strength = float(strength)

    def rescale(self, factor: float, limit: float) -> None:
        """Make strength 1 mean `factor` times the change; a change that is no direction has no such thing."""
        raise NotImplementedError

    @abstractmethod
    def _set(self, strength: float) -> None: ...

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """Inside the `with`, the model computes with the weights that `save` writes, and with nothing beside them."""
        yield

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase | None = None, base: str = "") -> Path:
        """Write the model at its present strength as a full checkpoint; ResourceError on a full disk.

        `base` is the reference of the original model, for artifacts that are kept beside it.
        """
        if is_split(self.model):  # every process is asked, and the first one writes
            alone = copy.deepcopy(self.model.config)
            alone.distributed_config = None  # or the writing would wait for the others
            return write_checkpoint(hollow_copy(self.model, alone), gathered(self.model), folder, tokenizer)
        return write_checkpoint(self.model, plain_state(self.model), folder, tokenizer)

    def release(self) -> PreTrainedModel:
        """Give the original model back and forget the change."""
        self.revert()
        return self.model

    def changed(self) -> dict[str, object]:
        """What changed, for people: kind, number of trained values, and the relative size of the change."""
        count, difference, size = self._measure()
        return {"kind": self.kind, "trained": count, "relative_change": (difference / size) ** 0.5 if size else 0.0}

    @abstractmethod
    def _measure(self) -> tuple[int, float, float]:
        """The number of trained values, and the squared norms of the change and of the weights before it."""


class Adapter(Artifact):
    """A LoRA adapter on `wrapped`; the base weights stay as they are."""

    kind = "adapter"

    def __init__(self, wrapped: PeftModel) -> None:
        super().__init__(unwrap(wrapped))
        self._wrapped = wrapped
        self._scales = {name: layer.scaling[NAME] for name, layer in lora_layers(wrapped)}

    def rescale(self, factor: float, limit: float) -> None:
        """Make strength 1 mean `factor` times the trained change; negative subtracts it.

        One factor of the product changes its sign, as in PEM negation: W + (a/r)(-lambda) B A.
        """
        self._scales = {name: scale * factor for name, scale in self._scales.items()}
        self.limit = limit
        self._set(self.strength)

    def _set(self, strength: float) -> None:
        for name, layer in lora_layers(self._wrapped):
            layer.scaling[NAME] = self._scales[name] * strength
            layer.enable_adapters(strength != 0.0)

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        merged = [layer for _, layer in lora_layers(self._wrapped) if not layer.disable_adapters]
        weights = [weight_of(layer)[1] for layer in merged]
        old = [weight.data for weight in weights]
        with torch.no_grad():
            for layer, weight in zip(merged, weights, strict=True):
                delta = layer.get_delta_weight(NAME)
                weight.data = weight.data + delta.to(weight.dtype)  # the sum that peft makes when it merges
                layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer, weight, before in zip(merged, weights, old, strict=True):
                weight.data = before
                layer.enable_adapters(True)

    def settle(self) -> None:
        """Round the factors, which train in float32, to the precision of the weights beneath: they are kept so, in
        half the bytes, and what is judged is what is kept."""
        with torch.no_grad():
            for factor in self._factors().values():
                factor.copy_(factor.to(self.model.dtype))

    def _factors(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for name, p in self._wrapped.named_parameters() if ".lora_" in name}

    def save_adapter(self, folder: Path) -> None:
        """Write the adapter alone, in peft's format and the precision of its base, into a folder inside `folder`."""
        kept = {name: factor.to(self.model.dtype) for name, factor in self._factors().items()}
        self._wrapped.save_pretrained(str(folder), save_embedding_layers=False, state_dict=kept)

    def release(self) -> PreTrainedModel:
        self.revert()
        return remove_lora(self._wrapped)

    def _measure(self) -> tuple[int, float, float]:
        difference, size = 0.0, 0.0
        for name, layer in lora_layers(self._wrapped):
            present, layer.scaling[NAME] = layer.scaling[NAME], self._scales[name]
            difference += layer.get_delta_weight(NAME).float().square().sum().item()
            layer.scaling[NAME] = present
            size += weight_of(layer)[1].float().square().sum().item()
        return sum(p.numel() for p in self._factors().values()), difference, size


class DenseDelta(Artifact):
    """Full weights: `old` maps parameter names to their values before the run.

    The new values are float32 (see `precision`), whatever the old ones are: rounded to bfloat16 most of a change
    made in small steps would be lost.
    """

    kind = "full weights"

    def __init__(self, model: PreTrainedModel, old: dict[str, torch.Tensor]) -> None:
        super().__init__(model)
        self._old = old
        self._new: dict[str, torch.Tensor] = {}  # copied when strength first leaves 1

    @classmethod
    def load(cls, model: PreTrainedModel, folder: Path) -> DenseDelta:
        """The change from `model` to the checkpoint in `folder`, which is applied."""
        new = read_weights(folder)
        parameters = dict(model.named_parameters())
        old = {}
        for name, parameter in parameters.items():
            if name not in new or new[name].shape != parameter.shape:
                problem = f"do not fit this model at {name}"
                raise InputError("weights", str(folder), problem, "Load them on the run's own target.")
            old[name] = parameter.detach().clone()
        for name, parameter in parameters.items():
            parameter.data = new[name].to(parameter.device)  # in the type they were trained in
        return cls(model, old)

    def rescale(self, factor: float, limit: float) -> None:
        """Make strength 1 mean `factor` times the trained change; negative subtracts it."""
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, old in self._old.items():
                change = parameters[name].float() - old.float()
                parameters[name].copy_(old.float() + factor * change)
        self.limit = limit

    def release(self) -> PreTrainedModel:
        """The original again, also in the type that it was loaded in."""
        self.revert()
        for old in list(self._old.values())[:1]:
            hold_in(self.model, old.dtype)
        return self.model

    def _set(self, strength: float) -> None:
        parameters = dict(self.model.named_parameters())
        if self.strength == 1.0:
            self._new = {name: parameters[name].detach().clone() for name in self._old}
        for name, old in self._old.items():
            parameters[name].copy_(_between(old, self._new[name], strength))

    def _measure(self) -> tuple[int, float, float]:
        parameters = self._new if self.strength != 1.0 else dict(self.model.named_parameters())
        difference = sum(_square(parameters[n] - old) for n, old in self._old.items())
        size = sum(_square(old) for old in self._old.values())
        return sum(old.numel() for old in self._old.values()), difference, size


class SparseDelta(Artifact):
    """Single entries: parameter name -> (flat indices, old values, new values)."""

    kind = "single weights"

    def __init__(
        self, model: PreTrainedModel, entries: dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
    ) -> None:
        super().__init__(model)
        self._entries = entries

    @classmethod
    def between(cls, model: PreTrainedModel, old: dict[str, torch.Tensor]) -> SparseDelta:
        """The entries in which `model` now differs from `old`."""
        entries = {}
        for name, parameter in model.named_parameters():
            if name in old:
                new_flat, old_flat = parameter.detach().reshape(-1), old[name].reshape(-1)
                at = (new_flat != old_flat).nonzero()[:, 0]
                entries[name] = (at, old_flat[at].clone(), new_flat[at].clone())
        return cls(model, entries)

    def _set(self, strength: float) -> None:
        parameters = dict(self.model.named_parameters())
        for name, (at, old, new) in self._entries.items():
            parameters[name].view(-1)[at] = _between(old, new, strength)

    def _measure(self) -> tuple[int, float, float]:
        triples = self._entries.values()
        difference = sum((new - old).float().square().sum().item() for _, old, new in triples)
        size = sum(old.float().square().sum().item() for _, old, _ in triples)
        return sum(at.numel() for at, _, _ in triples), difference, size


class Edits:
    """Weights overwritten one edit at a time; what they were is kept, so that all can be taken back."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self._parameters = dict(model.named_parameters())
        self._old: dict[str, torch.Tensor] = {}  # every matrix that was edited, whole, as it was
        self._best: dict[str, torch.Tensor] = {}  # what had been edited at the last `keep`, as it was then

    @torch.no_grad()
    def put(self, name: str, at: Index | tuple[Index, Index], values: torch.Tensor) -> None:
        """Write `values` at some places (each once) of the parameter called `name`: `at` is what would stand between
        its brackets."""
        parameter = self._parameters[name]
        if name not in self._old:
            self._old[name] = parameter.detach().clone()
        parameter[at] = values.to(parameter.dtype)

    @torch.no_grad()
    def undo(self) -> None:
        """Take every edit back, bit for bit."""
        for name, old in self._old.items():
            self._parameters[name].copy_(old)
        self._old.clear()

    @torch.no_grad()
    def keep(self) -> None:
        """Remember the edits so far."""
        self._best = {name: self._parameters[name].detach().to("cpu", copy=True) for name in self._old}

    @torch.no_grad()
    def put_back(self) -> None:
        """Take the edits since the last `keep` back."""
        for name, old in self._old.items():
            self._parameters[name].copy_(self._best.get(name, old))

    def artifact(self) -> SparseDelta:
        """All edits as one reversible change."""
        self._best.clear()
        return SparseDelta.between(self._model, self._old)


def _between(old: torch.Tensor, new: torch.Tensor, strength: float) -> torch.Tensor:
    """Old at 0 and new at 1, bit for bit; a mixture in between."""
    if strength in (0.0, 1.0):
        return new if strength else old
    return old.to(new.dtype).lerp(new, strength)


def _square(tensor: torch.Tensor) -> float:
    """Its squared norm; of parts that processes hold, of all of them."""
    return whole(tensor.float().square().sum()).item()
