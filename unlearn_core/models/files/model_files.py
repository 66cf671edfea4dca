"""What a model directory must hold before anything in it is loaded: safetensors, complete, and no code.

Reads only JSON and safetensors headers, so a hostile or truncated directory is refused in milliseconds.
What is not covered: weights that were trained to misbehave.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, IntegrityError, ResourceError
from unlearn_core.system.machine.memory import memory

if TYPE_CHECKING:
    import torch

_MAX_JSON = 50_000_000
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")
_COUNT, _MOST = re.compile(r"num_\w+|\w*layers?|n_heads?"), 100_000  # how many of something there are
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_FLOATS = ("F64", "F32", "F16", "BF16")
_SLACK = 1.15  # share of the weights that loading and the first forward need on top


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One stored tensor, from a safetensors header."""

    name: str
    dtype: str
    num_values: int


def check_directory(folder: Path, ref: str) -> tuple[TensorInfo, ...]:
    """The tensors a model directory stores; LetheError where it must not or cannot be loaded."""
    config = read_json(folder / "config.json", ref, "Use a directory written by save_pretrained.")
    check_config(config, ref)
    if (folder / "adapter_model.safetensors").exists():
        raise InputError(
            "target",
            ref,
            "holds a whole model and an adapter beside it",
            "Remove the adapter's files if it is merged, or name a folder that holds the adapter alone.",
        )
    tensors = tuple(tensor for shard in _shards(folder, ref) for tensor in read_header(shard, ref))
    for key, value in _walk(config):
        if key in _LAYERS and isinstance(value, int) and value > len(tensors):
            problem = f"lacks weights: {value:,} layers are declared and {len(tensors):,} tensors stored"
            raise IntegrityError("target", ref, problem, "Save or download the model again.")
    return tensors


def check_config(config: dict[str, Any], ref: str) -> None:
    """Refuse a configuration that asks for code from outside transformers, or for lists without end."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    native = config.get("model_type") in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # then its own code is left aside
    for key, value in _walk(config):
        if key == "auto_map" and not native:
            raise InputError(
                "target",
                ref,
                "brings its own code (auto_map), which is never run, for an architecture transformers does not have",
                "Use a model that transformers itself knows.",
            )
        if _COUNT.fullmatch(key) and isinstance(value, int | float) and value > _MOST:
            problem = f"declares {value:,.0f} of {key}, and transformers makes a list of them"
            raise InputError("target", ref, problem, f"Write the number there is, at most {_MOST:,}.")
        if key.endswith("_implementation") and isinstance(value, str) and "/" in value:
            raise InputError(
                "target",
                ref,
                f"asks for a compute kernel from the Hub ({key})",
                "Remove that line from its config.json.",
            )


def read_header(path: Path, ref: str) -> tuple[TensorInfo, ...]:
    """The tensors in a safetensors file, whose size must be exactly what its header promises."""
    from safetensors import SafetensorError, safe_open

    damaged = IntegrityError("target", ref, f"{path.name} is damaged or incomplete", "Save or download it again.")
    try:
        with safe_open(path, "np") as file:
            stored = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # no dict
            tensors = [TensorInfo(n, one.get_dtype(), math.prod(one.get_shape())) for n, one in stored.items()]
    except (OSError, ValueError, SafetensorError) as error:
        raise damaged from error
    if not tensors:
        raise damaged
    return tuple(tensors)


def memory_needed(tensors: tuple[TensorInfo, ...], dtype: torch.dtype) -> int:
    """Bytes to hold the stored tensors in `dtype`, with room for one forward pass."""
    total = 0
    for tensor in tensors:
        bits = dtype.itemsize * 8 if tensor.dtype in _FLOATS else _bits(tensor.dtype)
        total += tensor.num_values * bits // 8
    return int(total * _SLACK)


def _bits(kind: str) -> int:
    """Those of one stored number, which safetensors' names of types begin with: F8_E4M3, I32, but BOOL."""
    named = re.match(r"[A-Z]+(\d+)", kind)
    return int(named[1]) if named else 8


def require_memory(ref: str, needed: int, device: torch.device) -> None:
    """ResourceError where `device` has less than `needed` bytes free."""
    free = free_memory(device)
    if needed > free:
        where = "on the GPU" if device.type == "cuda" else "in memory"
        raise ResourceError(
            "target",
            ref,
            f"needs about {gigabytes(needed)} {where}, and {gigabytes(free)} are free",
            "Use a smaller model, or a machine with more memory.",
        )


def free_memory(device: torch.device) -> int:
    """Free bytes on `device`; of main memory, what this container has left."""
    if device.type == "cuda":
        import torch

        return int(torch.cuda.mem_get_info(device)[0])
    used, limit = memory()
    return max(0, limit - used)


def gigabytes(num_bytes: int) -> str:
    """A size for people."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _shards(folder: Path, ref: str) -> list[Path]:
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if index.exists():
        weight_map = read_json(index, ref, "Save the model again.").get("weight_map")
        names = sorted(set(weight_map.values())) if isinstance(weight_map, dict) else []
        if not names or any(not isinstance(name, str) or name != Path(name).name for name in names):
            raise IntegrityError("target", ref, f"has an unusable {index.name}", "Save the model again.")
        for name in names:
            if not (folder / name).is_file():
                raise IntegrityError("target", ref, f"lacks {name}", "Save or download the model again.")
        return [folder / name for name in names]
    if single.is_file():
        return [single]
    if any(path.suffix in _PICKLES for path in folder.iterdir()):
        raise InputError(
            "target",
            ref,
            "holds its weights as pickle files, which can run code when opened",
            "Save it again with save_pretrained(..., safe_serialization=True).",
        )
    raise InputError("target", ref, "holds no model.safetensors", "Use a directory written by save_pretrained.")


def read_json(path: Path, ref: str, mend: str) -> dict[str, Any]:
    """The JSON object in a file of a target; LetheError, with this `mend`, where there is none."""
    if not path.is_file():
        raise InputError("target", ref, f"holds no {path.name}", mend)
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError("too large")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise IntegrityError("target", ref, f"{path.name} cannot be read as JSON", mend) from error
    if not isinstance(record, dict):
        raise IntegrityError("target", ref, f"{path.name} is not a JSON object", mend)
    return record


def _walk(record: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    pending: list[object] = [record]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            yield from item.items()
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
