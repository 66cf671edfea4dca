"""A folder that holds a LoRA adapter and no model: it is put on its base, and merged.

    adapter_config.json           the base's reference, and how the adapter was made
    adapter_model.safetensors     its weights

The base is loaded as any target is. Of the configuration only what says where the matrices go is read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, first_line
from unlearn_core.models.files.model_files import TensorInfo, read_header, read_json
from unlearn_core.models.loading_dtype import kept_dtype

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_TAKEN = (
    "r",
    "lora_alpha",
    "target_modules",
    "target_parameters",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "modules_to_save",
    "use_rslora",
    "use_dora",
    "fan_in_fan_out",
    "bias",
    "lora_bias",
    "trainable_token_indices",
)
_NOT_MERGED = ("layer_replication", "alora_invocation_tokens")  # another model, or one that changes while it writes
_PROMPTS = ("PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "MULTITASK_PROMPT_TUNING")


@dataclass(frozen=True)
class AdapterFolder:
    """What such a folder says."""

    folder: Path
    base: str
    settings: dict[str, Any]
    tensors: tuple[TensorInfo, ...]

    @classmethod
    def read(cls, folder: Path, ref: str) -> AdapterFolder | None:
        """The adapter in `folder`; None where a model lies there, InputError for what cannot be put on one."""
        if not (folder / CONFIG).is_file() or (folder / "config.json").exists():
            return None
        record = read_json(folder / CONFIG, ref, "Save the adapter again.")
        base = record.get("base_model_name_or_path")
        if record.get("peft_type") in _PROMPTS or any(record.get(name) for name in _NOT_MERGED):
            problem = "is an adapter that cannot be merged into its base model"
            raise InputError("target", ref, problem, "Use its base model, or an adapter of LoRA's plain kind.")
        if record.get("peft_type") != "LORA" or not isinstance(base, str) or not base:
            problem = "is an adapter that is no LoRA, or that names no base model"
            raise InputError("target", ref, problem, "Merge it into its base model and save that.")
        if not (folder / WEIGHTS).is_file():
            problem = "holds an adapter without its weights in safetensors"
            raise InputError("target", ref, problem, "Save it with save_pretrained.")
        tensors = read_header(folder / WEIGHTS, ref)
        return cls(folder, base, {name: record[name] for name in _TAKEN if record.get(name) is not None}, tensors)

    def merged_into(self, model: PreTrainedModel, ref: str) -> PreTrainedModel:
        """`model` with the adapter's change in its weights."""
        from peft import LoraConfig, PeftModel

        try:
            wrapped: Any = PeftModel.from_pretrained(model, str(self.folder), config=LoraConfig(**self.settings))
            merged: PreTrainedModel = wrapped.merge_and_unload(safe_merge=True)
        except Exception as error:  # peft tells of what does not fit in many kinds of errors
            problem = f"is an adapter that does not fit {self.base} ({first_line(error)})"
            raise InputError("target", ref, problem, "Put it with the base model it was trained on.") from error
        merged.eval()
        return merged

    @property
    def base_dtype(self) -> torch.dtype | None:
        """The type of the base that a run made the adapter on; None for an adapter from elsewhere."""
        return kept_dtype(self.folder, self.tensors)


def base_dtype_of(weights: Path) -> torch.dtype | None:
    """The same for what a run has kept in `weights`, where that is an adapter: its original is to be loaded so."""
    adapter = AdapterFolder.read(weights, str(weights))
    return None if adapter is None else adapter.base_dtype


@contextmanager
def without_leftovers(folder: Path) -> Iterator[Path]:
    """The folder as transformers is to see it: a left-over adapter configuration would have it load another base."""
    if not (folder / CONFIG).exists():
        yield folder
        return
    seen = Path(tempfile.mkdtemp())
    try:
        for path in folder.iterdir():
            if not path.name.startswith("adapter_"):
                (seen / path.name).symlink_to(path.absolute())
        yield seen
    finally:
        shutil.rmtree(seen, ignore_errors=True)
