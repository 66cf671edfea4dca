"""A model on disk: written under a temporary name, flushed, renamed; a full disk is told before and after."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import IntegrityError, ResourceError
from unlearn_core.models.building import building
from unlearn_core.models.files.model_files import free_memory
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.inference.inference_wrapper import beneath
from unlearn_core.models.inference.trials import plain_logits, same, sample_ids
from unlearn_core.system.machine import distributed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# How any model is loaded: never code from elsewhere, never a pickle.
LOADING = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
_SPARE_BYTES = 8 * 2**20  # configuration, tokenizer, and room for the file system's own needs


def write_checkpoint(
    model: PreTrainedModel,
    state: dict[str, torch.Tensor],
    folder: Path,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Path:
    """Write `state` as a checkpoint of `model`'s class into `folder` (replaced if it exists).

    The folder holds config.json, safetensors and the tokenizer, and is complete or absent. ResourceError
    when the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError

    folder = Path(folder).absolute()
    needed = sum(value.numel() * value.element_size() for value in state.values()) + _SPARE_BYTES
    partial = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder.parent).free
        if free < needed:
            raise OSError(errno.ENOSPC, f"{free // 2**20} MB free, {needed // 2**20} MB needed")
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        unwrap(model).save_pretrained(partial, state_dict=state)
        require_same(unwrap(model), state, partial)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
        for path in partial.iterdir():
            path.chmod(0o644)  # safetensors writes for its owner only; others may be meant to read
            _flush(path)
        partial.chmod(0o755)
        _flush(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
        _flush(folder.parent)
    except (OSError, SafetensorError) as error:
        mend = "Free some space or name another folder; the model in memory is unharmed."
        reason = getattr(error, "strerror", None) or str(error)
        raise ResourceError("folder", str(folder), f"cannot be written: {reason}", mend) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def require_same(model: PreTrainedModel, state: dict[str, torch.Tensor], folder: Path) -> None:
    """IntegrityError unless the checkpoint in `folder` loads as `state`, tensor for tensor, and predicts alike.

    Some architectures are stored under other names than they have in memory, and what is missing there would be
    made up at random. Without memory for a second model only the files' own names and values are looked at.
    """
    size = sum(value.numel() * value.element_size() for value in state.values())
    if size * 1.2 < free_memory(torch.device("cpu")):
        with building():
            load: Any = type(model).from_pretrained
            found, report = load(folder, dtype="auto", local_files_only=True, **LOADING)
        stored = {**found.state_dict(), **dict.fromkeys(report["missing_keys"])}
        _require_same_logits(model, found.eval())
    else:
        stored = read_weights(folder)
        state = {name: value for name, value in state.items() if name in stored}
    for name, value in state.items():
        twin = stored.get(name)
        if twin is None or not torch.equal(twin, value.to("cpu", twin.dtype)):
            problem = f"would not load again as they are in memory ({name})"
            raise IntegrityError(
                "weights", type(model).__name__, problem, "Choose the adapter `full`, or another model."
            )


@torch.no_grad()
def _require_same_logits(model: PreTrainedModel, found: PreTrainedModel) -> None:
    """The same weights are another model where the configuration does not come back as it was."""
    if distributed.size() > 1 or model.training:  # the other processes do not compute along
        return
    ids = sample_ids(model, 12)
    with beneath(model):
        if not same(plain_logits(found, ids), plain_logits(model, ids).to("cpu", found.dtype)):
            problem = "would not predict, loaded again, what they predict in memory"
            raise IntegrityError("weights", type(model).__name__, problem, "Choose another model.")


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a safetensors checkpoint, by name; IntegrityError when there are none to read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    try:
        for path in sorted(Path(folder).glob("*.safetensors")):
            found.update(load_file(path))
    except (OSError, SafetensorError) as error:
        raise IntegrityError("weights", str(folder), f"cannot be read: {error}", "Run again.") from error
    if not found:
        raise IntegrityError("weights", str(folder), "hold no safetensors file", "Run again.")
    return found


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
