"""Target models: which exist by name, and one safe way to load any of them.

demo, demo:retain_only     the bundled models
smollm2, qwen2.5-0.5b ...  small instruct models, from the Hub; LETHE_SMOLLM2 may name a local copy of the first
lume-1b, lume-7b           the benchmark's own targets, from the Hub
DIRECTORY                  a model saved in safetensors, or one GGUF file
FILE.gguf                  a GGUF file, dequantised (see `gguf_files`)
owner/name[@revision]      a model on the Hub
DIRECTORY of a wrapper     what stands before a model, beside the model's own reference (see `wrapper_artifact`)

Never remote code, never pickle: see `model_files`.
"""

from __future__ import annotations

import copy
import os
import re
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError, first_line, is_panic
from unlearn_core.models.building import building
from unlearn_core.models.files.adapter_folder import AdapterFolder, without_leftovers
from unlearn_core.models.files.checkpoint import LOADING
from unlearn_core.models.files.gguf_files import SUFFIX, as_plain_model, check_files, parsed_once, source_of
from unlearn_core.models.files.hub import fetch_snapshot
from unlearn_core.models.files.model_files import free_memory, memory_needed, require_memory
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.inference.forward import is_causal
from unlearn_core.models.kernels import fuse, without_cudnn_attention
from unlearn_core.models.loading_dtype import default_dtype, kept_dtype
from unlearn_core.models.split import is_too_large, own
from unlearn_core.models.wrappers.wrapper_artifact import Declaration
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.hub_id import HUB_ID
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import has_gpu

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

_LUME = "llmunlearningsemeval2025organization"
_MAX_REF = 4096


@dataclass(frozen=True)
class TargetInfo:
    """A target that is listed by name. `needs` is in people's words, for full-weight unlearning."""

    name: str
    title: str
    ref: str
    num_parameters: int
    needs: str
    note: str = ""
    public: bool = False  # whether strangers may use it
    data: str = ""  # what it was trained to know
    retain_model: str = ""  # the model trained the same way without the forget set, where there is one


def _tofu(name: str, model: str, num_parameters: int, needs: str) -> TargetInfo:
    """A model of open-unlearning's that knows all of TOFU; its retain models know all but a part."""
    return TargetInfo(
        name,
        f"TOFU, {model}",
        f"open-unlearning/tofu_{model}_full",
        num_parameters,
        needs,
        f"All 200 invented authors; {num_parameters * 2 / 1e9:.0f} GB download, and as much for its retain model",
        data="locuslab/TOFU:forget{size}",
        retain_model=f"open-unlearning/tofu_{model}_retain{{kept}}",
    )


def _muse(name: str, corpus: str) -> TargetInfo:
    return TargetInfo(
        name,
        f"MUSE {corpus}, target",
        f"muse-bench/MUSE-{corpus}_target",
        6_738_415_616,
        "a GPU with 80 GB for full weights, 24 GB with LoRA",
        "arXiv 2407.06460; 13 GB download, and as much for its retrained model",
        data=f"muse-bench/MUSE-{corpus}",
        retain_model=f"muse-bench/MUSE-{corpus}_retrain",
    )


CATALOGUE: tuple[TargetInfo, ...] = (
    TargetInfo(
        "demo",
        "Bundled model (synthetic world)",
        "demo",
        2_000_000,
        "any laptop, no download",
        "Trained from scratch on an invented world; its scores are not comparable with the leaderboard.",
        data="demo",
        retain_model="demo:retain_only",
        public=True,
    ),
    TargetInfo(
        "smollm2",
        "SmolLM2 135M, instruct",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        134_515_008,
        "any laptop with 4 GB",
        "A real pretrained model; 0.3 GB download, or a local copy named by LETHE_SMOLLM2.",
        public=True,
    ),
    TargetInfo(
        "smollm2-360m",
        "SmolLM2 360M, instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct",
        361_821_120,
        "a laptop with 8 GB",
        "0.7 GB download",
    ),
    TargetInfo(
        "smollm2-1.7b",
        "SmolLM2 1.7B, instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct",
        1_711_376_384,
        "a GPU with 12 GB, or 16 GB of memory and patience",
        "3.4 GB download",
    ),
    TargetInfo(
        "gemma-3-270m",
        "Gemma 3 270M, instruct",
        "google/gemma-3-270m-it",
        268_098_176,
        "a laptop with 8 GB; its vocabulary of 262,144 tokens makes every step dear",
        "0.5 GB download; gated: accept its terms on the Hub and set HF_TOKEN",
    ),
    TargetInfo(
        "qwen2.5-0.5b",
        "Qwen2.5 0.5B, instruct",
        "Qwen/Qwen2.5-0.5B-Instruct",
        494_032_768,
        "a laptop with 8 GB",
        "1 GB download",
    ),
    TargetInfo(
        "llama-3.2-1b",
        "Llama 3.2 1B, instruct",
        "meta-llama/Llama-3.2-1B-Instruct",
        1_235_814_400,
        "a GPU with 8 GB, or 12 GB of memory and patience",
        "2.5 GB download; gated: accept its terms on the Hub and set HF_TOKEN",
    ),
    TargetInfo(
        "olmo-2-1b",
        "OLMo 2 1B, instruct",
        "allenai/OLMo-2-0425-1B-Instruct",
        1_484_916_736,
        "a GPU with 12 GB, or 16 GB of memory and patience",
        "3 GB download",
    ),
    TargetInfo(
        "lume-1b",
        "OLMo 1B, LUME target",
        f"{_LUME}/olmo-1B-model-semeval25-unlearning",
        1_176_764_416,
        "a GPU with 32 GB for full weights, 8 GB with LoRA (calculated)",
        "SemEval-2025 Task 4; 5 GB download",
    ),
    TargetInfo(
        "lume-7b",
        "OLMo 7B, LUME target",
        f"{_LUME}/olmo-finetuned-semeval25-unlearning",
        6_888_095_744,
        "a GPU with 141 GB for full weights, 24 GB with LoRA (calculated)",
        "SemEval-2025 Task 4; 14 GB download",
    ),
    _tofu("tofu-1b", "Llama-3.2-1B-Instruct", 1_235_814_400, "a GPU with 24 GB for full weights, 8 GB with LoRA"),
    _tofu("tofu-3b", "Llama-3.2-3B-Instruct", 3_212_749_824, "a GPU with 48 GB for full weights, 16 GB with LoRA"),
    _tofu("tofu-8b", "Llama-3.1-8B-Instruct", 8_030_261_248, "a GPU with 80 GB for full weights, 24 GB with LoRA"),
    _tofu("tofu-llama2", "Llama-2-7b-chat-hf", 6_738_415_616, "a GPU with 80 GB for full weights, 24 GB with LoRA"),
    _muse("muse-news", "News"),
    _muse("muse-books", "Books"),
)


def retain_model_of(target: str, data: str, named: str | None = None, subject: str | None = None) -> str | None:
    """The model that a run is read against: the one that was named, or the one that comes with this target and
    data; None where neither is, and for one subject of them, because that model lacks the other subjects too. A
    name that ends in `.json` is a file of stored scores."""
    if named is not None or subject is not None:
        return named
    for entry in CATALOGUE:
        if target not in (entry.ref, entry.name) or not entry.retain_model:
            continue
        # TOFU forgets 1, 5 or 10 % of the authors, and has a retain model for each.
        pattern = re.escape(entry.data).replace(re.escape("{size}"), r"(\d\d)")
        if match := re.fullmatch(pattern, data):
            kept = f"{100 - int(match[1])}" if match.groups() else ""
            return entry.retain_model.replace("{kept}", kept)
    return None


def offered(public: bool = False) -> tuple[TargetInfo, ...]:
    """What is listed: to strangers the bundled model, and one small real one where it is on this machine, since
    nothing is fetched for them."""
    return tuple(info for info in CATALOGUE if not public or (info.public and _is_here(info)))


def _is_here(info: TargetInfo) -> bool:
    """Whether a model of the catalogue ships with Lethe, is named by LETHE_SMOLLM2, or lies in the Hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    if info.ref in _BUNDLED or (info.name == "smollm2" and os.environ.get("LETHE_SMOLLM2")):
        return True
    return isinstance(try_to_load_from_cache(info.ref, "config.json"), str)


# Names that load like the catalogue's but are not offered as something to unlearn.
_BUNDLED = {"demo": "original", "demo:original": "original", "demo:retain_only": "retain_only"}


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


def bundled_directory(ref: str) -> Path | None:
    """The folder of a bundled model, or None where `ref` names no bundled model."""
    part = _BUNDLED.get(ref)
    return assets_directory() / "demo" / part if part else None


def load_tokenizer_of(ref: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model on this machine, without its weights."""
    folder = locate(ref)
    if not isinstance(folder, Path):
        raise InputError("target", ref, "is not on this machine", "Name a local one.")
    return _load_tokenizer(*source_of(folder, ref), ref)


def locate(ref: object, public: bool = False) -> Path | tuple[str, str | None]:
    """The local folder that `ref` names, or the Hub's repository and revision. Nothing is read or fetched."""
    if not isinstance(ref, str) or not ref.strip() or len(ref) > _MAX_REF or not ref.isprintable():
        mend = _offered() if public else _known()
        raise InputError("target", ref, "is not the name of a model", mend)
    bundled = bundled_directory(ref)
    if bundled is not None:
        if not bundled.is_dir():
            raise IntegrityError(
                "target",
                ref,
                "is not in this installation",
                "Install Lethe whole, or set LETHE_ASSETS to the folder that holds `demo/`.",
            )
        return bundled
    if public and ref not in {info.name for info in offered(public)}:
        raise InputError("target", ref, "is not one of the models offered here", _offered())
    copy = os.environ.get("LETHE_SMOLLM2")
    if ref == "smollm2" and copy:
        return _local_copy(copy)
    named = {info.name: info.ref for info in CATALOGUE} | {info.ref: info.ref for info in CATALOGUE}
    if ref in named:
        return named[ref], None
    if (place := _on_disk(ref)) is not None:
        return place
    if "://" in ref or ref.startswith(("/", ".", "~", "\\")) or ".." in ref or not HUB_ID.fullmatch(ref):
        problem = "is neither a model's name nor a directory that exists"
        raise InputError("target", ref, problem, f"{_known()} A Hub model is written owner/name.")
    repo, _, revision = ref.partition("@")
    return repo, revision or None


def _on_disk(ref: str) -> Path | None:
    """The folder or GGUF file that is called so; None where there is none."""
    try:
        path = Path(ref).expanduser()
        return path if path.is_dir() or (path.suffix.lower() == SUFFIX and path.is_file()) else None
    except (OSError, RuntimeError, ValueError):  # no such home, or no name that a disk could have
        return None


def _local_copy(named: str) -> Path:
    """The model that LETHE_SMOLLM2 names: a folder, a GGUF file, or a folder one above either (an unzipped
    wheel)."""
    folder = _on_disk(named)
    if folder is not None and folder.is_file():
        return folder
    if folder is not None:
        for place in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
            if (place / "config.json").is_file() or any(place.glob(f"*{SUFFIX}")):
                return place
    raise InputError(
        "LETHE_SMOLLM2", named, "holds no model", "Name a folder with safetensors, or a GGUF file or its folder."
    )


def _offered() -> str:
    return f"Use {', '.join(info.name for info in offered(public=True))}."


def _known() -> str:
    return f"Use {', '.join(info.name for info in CATALOGUE)}, a local directory, a GGUF file or a Hub id."


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
