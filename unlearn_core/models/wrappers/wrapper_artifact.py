"""The artifact of a method that changes no weight: a front, its declaration on disk, and the way back.

    wrapper.json          the front's kind and settings, the base model's reference and weights hash
    wrapper.safetensors   what the front learnt, where it learnt anything

The folder holds no model: the weights are those of the base, which `load_target` fetches by its reference
and checks by its hash before the front takes its place.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.models.artifacts import Artifact
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.inference_wrapper import InferenceWrapper, beneath
from unlearn_core.models.wrappers.assistant import Assistant
from unlearn_core.models.wrappers.guards import InContext, InputFilter, OutputFilter, Prefix
from unlearn_core.models.wrappers.unlearning_layers import UnlearningLayers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DECLARATION, TENSORS = "wrapper.json", "wrapper.safetensors"
UNCHANGED = "The weights are unchanged: what was to be forgotten is still in the model, behind what is declared here."
FRONTS: dict[str, type[InferenceWrapper]] = {
    front.kind: front for front in (Prefix, InContext, InputFilter, OutputFilter, Assistant, UnlearningLayers)
}


class Wrapper(Artifact):
    """A front before an unchanged model; strength 0 is the bare model."""

    kind = "wrapper, weights unchanged"

    def __init__(self, model: PreTrainedModel, front: InferenceWrapper) -> None:
        super().__init__(model)
        self.front = front
        front.attach(model, 1.0)

    def _set(self, strength: float) -> None:
        if strength not in (0.0, 1.0) and not self.front.graded:
            raise InputError("strength", strength, "is between off and on", "Use 0 (off) or 1 (on).")
        self.front.detach(self.model)
        if strength:
            self.front.attach(self.model, strength)

    def save(self, folder: Path, tokenizer: PreTrainedTokenizerBase | None = None, base: str = "") -> Path:
        """Write the declaration beside the reference of the base model; no weights are written."""
        with beneath(self.model):
            record = {
                "note": UNCHANGED,
                "kind": self.front.kind,
                "settings": self.front.settings(),
                "base": _reference(base),
                "base_weights_hash": weights_hash(self.model),
            }
        folder = Path(folder)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        text = json.dumps(record, indent=2, ensure_ascii=False)
        (folder / DECLARATION).write_text(text + "\n", encoding="utf-8")
        if tensors := self.front.tensors():
            from safetensors.torch import save_file

            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
        return folder

    def changed(self) -> dict[str, object]:
        return super().changed() | {"front": self.front.kind}

    def _measure(self) -> tuple[int, float, float]:
        return sum(tensor.numel() for tensor in self.front.tensors().values()), 0.0, 0.0


def _reference(base: str) -> str:
    """The base as it can be named from anywhere: a directory by its whole path."""
    return str(Path(base).expanduser().absolute()) if base and Path(base).expanduser().is_dir() else base


@dataclass(frozen=True)
class Declaration:
    """What a wrapper's folder says."""

    folder: Path
    kind: str
    settings: dict[str, Any]
    base: str
    base_weights_hash: str

    @classmethod
    def read(cls, folder: Path) -> Declaration | None:
        """The declaration in `folder`; None where there is none, IntegrityError where it is damaged."""
        path = folder / DECLARATION
        if not path.is_file():
            return None
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            found = cls(folder, record["kind"], record["settings"], record["base"], record["base_weights_hash"])
            if found.kind not in FRONTS or not isinstance(found.settings, dict) or not found.base:
                raise ValueError(found.kind)
        except (OSError, ValueError, KeyError, TypeError):
            raise _damaged(folder) from None
        return found

    def put_before(self, model: PreTrainedModel, digest: str) -> Wrapper:
        """The front, before the base model, whose hash is `digest`; IntegrityError where it is another one."""
        if digest != self.base_weights_hash:
            problem = f"was made for other weights than {self.base} has now"
            raise IntegrityError("target", str(self.folder), problem, "Run the method again on this model.")
        tensors: dict[str, torch.Tensor] = {}
        if (self.folder / TENSORS).is_file():
            from unlearn_core.models.files.checkpoint import read_weights

            tensors = read_weights(self.folder)
        try:
            front = FRONTS[self.kind].load(model, _tupled(self.settings), tensors)
        except (TypeError, KeyError, ValueError, RuntimeError):
            raise _damaged(self.folder) from None
        return Wrapper(model, front)


def _damaged(folder: Path) -> IntegrityError:
    return IntegrityError("target", str(folder), f"{DECLARATION} is damaged", "Run the method again.")


def _tupled(value: Any) -> Any:
    """JSON's lists as the tuples that frozen settings hold."""
    if isinstance(value, list):
        return tuple(_tupled(item) for item in value)
    if isinstance(value, dict):
        return {key: _tupled(item) for key, item in value.items()}
    return value
