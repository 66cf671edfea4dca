"""One safe way to load any target model that a reference leads to (see `models.catalogue`).

A directory holds a model in safetensors, an adapter, one GGUF file, which is dequantised (see `gguf_files`), or a
wrapper: what stands before a model, beside the model's own reference (see `wrapper_artifact`). Never remote code,
never pickle: see `model_files`.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError, first_line, is_panic
from unlearn_core.models.building import building
from unlearn_core.models.catalogue import (  # noqa: F401  others look for the names here
    CATALOGUE,
    TargetInfo,
    bundled_directory,
    locate,
    offered,
    retain_model_of,
)
from unlearn_core.models.files.adapter_folder import AdapterFolder, without_leftovers
from unlearn_core.models.files.checkpoint import LOADING
from unlearn_core.models.files.gguf_files import as_plain_model, check_files, parsed_once, source_of
from unlearn_core.models.files.hub import fetch_snapshot
from unlearn_core.models.files.model_files import free_memory, memory_needed, require_memory
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.forward import is_causal
from unlearn_core.models.kernels import fuse, without_cudnn_attention
from unlearn_core.models.loading_dtype import default_dtype, kept_dtype
from unlearn_core.models.split import is_too_large, own
from unlearn_core.models.wrappers.wrapper_artifact import Declaration
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import has_gpu

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Target:
    """A loaded model in evaluation mode, its tokenizer, and the hash that binds its scores to it.

    `revision` is the Hub commit, "" for a directory.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    ref: str
    revision: str
    weights_hash: str
    num_parameters: int


def load_target(
    ref: str,
    *,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    public: bool = False,
) -> Target:
    """Load the model `ref` names, in `default_dtype` unless `dtype` says otherwise.

    `public` allows what is offered to strangers only. Raises InputError (unknown or
    unusable reference), IntegrityError (damaged files), ResourceError (memory, network); field "target".
    """
    place = torch.device(device) if device is not None else best_device()
    found = locate(ref, public)
    if isinstance(found, tuple):
        folder, revision = fetch_snapshot(*found, ref, dtype or default_dtype(place), place)
    else:
        folder, revision = found, ""
    declared = Declaration.read(folder)
    if declared is not None:
        base = load_target(declared.base, device=device, dtype=dtype, public=public)
        declared.put_before(base.model, base.weights_hash)
        return replace(base, ref=ref)
    adapter = AdapterFolder.read(folder, ref)
    if adapter is not None:
        base = load_target(adapter.base, device=device, dtype=dtype or adapter.base_dtype, public=public)
        merged = adapter.merged_into(base.model, ref)
        return replace(base, model=merged, ref=ref, weights_hash=weights_hash(merged))
    files = check_files(folder, ref)
    source, settings = source_of(folder, ref)
    unpacked = "gguf_file" in settings
    stored = sum(file.num_values for file in files)
    precision = dtype or kept_dtype(folder, files) or default_dtype(place, stored)
    with building(), parsed_once() if unpacked else nullcontext():
        # Every tensor of a GGUF file is unpacked as float32 before it takes its precision.
        needed = memory_needed(files, torch.float32 if unpacked else precision)
        split = is_too_large(needed, free_memory(place))
        require_memory(ref, needed // distributed.size() if split else needed, place)
        config = _checked_config(source, settings, ref, stored)
        model = _load_model(source, settings | {"config": config}, ref, precision, place, split)
        tokenizer = _load_tokenizer(source, settings, ref)
        _check_fit(tokenizer, model, ref)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Target(model, tokenizer, ref, revision, weights_hash(model), num_parameters)


def best_device() -> torch.device:
    """The first GPU, or the CPU."""
    return torch.device("cuda" if has_gpu() else "cpu")


def load_tokenizer_of(ref: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model on this machine, without its weights."""
    folder = locate(ref)
    if not isinstance(folder, Path):
        raise InputError("target", ref, "is not on this machine", "Name a local one.")
    return _load_tokenizer(*source_of(folder, ref), ref)


def _checked_config(source: Path, settings: dict[str, Any], ref: str, stored: int) -> PreTrainedConfig:
    """The model's configuration; refused where it declares more weights than are stored, since transformers would
    make up the rest, at any size."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source, **settings)
        packed = hasattr(config, "quantization_config") and "gguf_file" not in settings
        if packed:  # several values in one that is stored
            return config
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(copy.deepcopy(config), trust_remote_code=False)
        declared = sum(parameter.numel() for parameter in model.parameters())
    except Exception as error:
        raise _unloadable(ref, error) from error
    if declared > stored:
        raise IntegrityError(
            "target",
            ref,
            f"lacks weights: {declared:,} are declared and {stored:,} stored",
            "Save or download the model again.",
        )
    return config


def _unloadable(ref: str, error: Exception) -> InputError:
    """What is wrong with files, of which transformers tells in many kinds of errors."""
    return InputError(
        "target",
        ref,
        f"cannot be loaded as a causal language model ({first_line(error)})",
        "Save it with save_pretrained, in safetensors, from an architecture transformers knows.",
    )


def _load_model(
    source: Path, settings: dict[str, Any], ref: str, dtype: torch.dtype, device: torch.device, split: bool
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the caller shows progress
    load: Any = AutoModelForCausalLM.from_pretrained
    settings = {**settings, "dtype": dtype, **LOADING}
    if split:
        settings["tp_plan"] = "auto"
    try:
        with without_leftovers(source) as seen:
            try:
                model, report = load(seen, attn_implementation="sdpa", **settings)
            except ValueError as error:
                if "scaled_dot_product_attention" not in str(error):
                    raise
                model, report = load(seen, attn_implementation="eager", **settings)
        if "gguf_file" in settings:
            as_plain_model(model)
        without_cudnn_attention(device)
        if not split:  # whose parts are where they belong
            model = model.to(device)
            fuse(model)
    except torch.cuda.OutOfMemoryError as error:
        raise ResourceError("target", ref, "does not fit into the GPU's memory", "Use a smaller model.") from error
    except LetheError:
        raise
    except Exception as error:
        raise _unloadable(ref, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise IntegrityError(
            "target",
            ref,
            f"lacks {len(missing)} of its weights, for example {missing[0]}",
            "Save or download the model again.",
        )
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(own(parameter)).all()):
            raise IntegrityError("target", ref, f"holds weights that are not numbers ({name})", "Save it again.")
    loaded: PreTrainedModel = model.eval()
    if not is_causal(loaded):
        problem = "looks ahead: its predictions of a token change with what comes after it"
        raise InputError("target", ref, problem, "Use a decoder, which writes from left to right.")
    return loaded


def _load_tokenizer(source: Path, settings: dict[str, Any], ref: str) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(source, **settings)
        tokenizer("Where?")  # some that load cannot be used
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        mend = "Save the tokenizer into the same directory with save_pretrained."
        raise InputError("target", ref, "has no tokenizer that can be loaded", mend) from error
    return tokenizer


def _check_fit(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, ref: str) -> None:
    """InputError where the tokenizer has ids for which the model has no embedding."""
    embeddings: Any = model.get_input_embeddings()
    rows = int(embeddings.weight.shape[0])
    if len(tokenizer) > rows:
        problem = f"has a tokenizer of {len(tokenizer)} tokens for a model of {rows}"
        raise InputError("target", ref, problem, "Use the tokenizer the model was trained with.")
