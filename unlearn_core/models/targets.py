"""Target models: which exist by name, and one safe way to load any of them.

demo, demo:retain_only     the bundled models
lume-1b, lume-7b           the benchmark's own targets, from the Hub
DIRECTORY                  a model saved in safetensors
owner/name[@revision]      a model on the Hub
DIRECTORY of a wrapper     what stands before a model, beside the model's own reference (see `wrapper`)

Never remote code, never pickle: see `model_files`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.errors import InputError, IntegrityError, LetheError, ResourceError, clip
from unlearn_core.models.building import building
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.hub import fetch_snapshot
from unlearn_core.models.model_files import check_directory, memory_needed, require_memory
from unlearn_core.models.wrapper import Declaration

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LUME = "llmunlearningsemeval2025organization"
_HUB_ID = re.compile(r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}(@[\w][\w./-]{0,95})?", re.ASCII)
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


CATALOGUE: tuple[TargetInfo, ...] = (
    TargetInfo(
        "demo", "Bundled model (synthetic world)", "demo", 2_000_000, "any laptop, no download",
        "Trained from scratch on an invented world; its scores are not comparable with the leaderboard.",
    ),
    TargetInfo(
        "lume-1b", "OLMo 1B, LUME target", f"{_LUME}/olmo-1B-model-semeval25-unlearning", 1_176_764_416,
        "a GPU with 24 GB for full weights, 8 GB with LoRA", "SemEval-2025 Task 4; 5 GB download",
    ),
    TargetInfo(
        "lume-7b", "OLMo 7B, LUME target", f"{_LUME}/olmo-finetuned-semeval25-unlearning", 6_888_095_744,
        "a GPU with 80 GB for full weights, 24 GB with LoRA", "SemEval-2025 Task 4; 14 GB download",
    ),
)  # fmt: skip


def offered(public: bool = False) -> tuple[TargetInfo, ...]:
    """What is listed: to strangers only what ships with Lethe, since the rest would be fetched for them."""
    return CATALOGUE[:1] if public else CATALOGUE


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
    """Load the model `ref` names: float32 on the CPU, bfloat16 on a GPU unless `dtype` says otherwise.

    `public` allows bundled models only, for pages that strangers use. Raises InputError (unknown or
    unusable reference), IntegrityError (damaged files), ResourceError (memory, network); field "target".
    """
    place = torch.device(device) if device is not None else best_device()
    precision = dtype or default_dtype(place)
    found = locate(ref, public)
    if isinstance(found, tuple):
        folder, revision = fetch_snapshot(*found, ref, precision, place)
    else:
        folder, revision = found, ""
    declared = Declaration.read(folder)
    if declared is not None:
        base = load_target(declared.base, device=device, dtype=dtype, public=public)
        declared.put_before(base.model)
        return replace(base, ref=ref)
    files = check_directory(folder, ref)
    with building():
        require_memory(ref, memory_needed(files, precision), place)
        _require_weights(folder, ref, sum(file.num_values for file in files))
        model = _load_model(folder, ref, precision, place)
        tokenizer = _load_tokenizer(folder, ref, model)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    return Target(model, tokenizer, ref, revision, weights_hash(model), num_parameters)


def default_dtype(device: torch.device) -> torch.dtype:
    """float32 on the CPU, bfloat16 on a GPU."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def best_device() -> torch.device:
    """The first GPU, or the CPU. On ZeroGPU there is a GPU only within a call (see `runs.zerogpu`)."""
    lent = not os.environ.get("SPACES_ZERO_GPU")
    return torch.device("cuda" if lent and torch.cuda.is_available() else "cpu")


def assets_directory() -> Path:
    """Where the bundled models live: LETHE_ASSETS, or `assets/` beside the package."""
    named = os.environ.get("LETHE_ASSETS")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "assets"


def bundled_directory(ref: str) -> Path | None:
    """The folder of a bundled model, or None where `ref` names no bundled model."""
    part = _BUNDLED.get(ref)
    return assets_directory() / "demo" / part if part else None


def load_tokenizer_of(ref: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a model on this machine, without its weights."""
    from transformers import AutoTokenizer

    folder = locate(ref)
    if not isinstance(folder, Path):
        raise InputError("target", ref, "is not on this machine", "Name a local one.")
    try:
        loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise InputError("target", ref, "has no tokenizer that can be loaded", "Save one with it.") from error
    return loaded


def locate(ref: object, public: bool = False) -> Path | tuple[str, str | None]:
    """The local folder that `ref` names, or the Hub's repository and revision. Nothing is read or fetched."""
    if not isinstance(ref, str) or not ref.strip() or len(ref) > _MAX_REF or not ref.isprintable():
        mend = _offered() if public else _known()
        raise InputError("target", ref, "is not the name of a model", mend)
    bundled = bundled_directory(ref)
    if bundled is not None:
        if not bundled.is_dir():
            raise IntegrityError(
                "target", ref, "is not in this installation",
                "Run from a full checkout, or set LETHE_ASSETS to the folder that holds `demo/`.",
            )  # fmt: skip
        return bundled
    if public:
        raise InputError("target", ref, "is not one of the models offered here", _offered())
    named = {info.name: info.ref for info in CATALOGUE} | {info.ref: info.ref for info in CATALOGUE}
    if ref in named:
        return named[ref], None
    if _is_directory(ref):
        return Path(ref).expanduser()
    if "://" in ref or ref.startswith(("/", ".", "~", "\\")) or ".." in ref or not _HUB_ID.fullmatch(ref):
        problem = "is neither a model's name nor a directory that exists"
        raise InputError("target", ref, problem, f"{_known()} A Hub model is written owner/name.")
    repo, _, revision = ref.partition("@")
    return repo, revision or None


def _is_directory(ref: str) -> bool:
    try:
        return Path(ref).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def _offered() -> str:
    return f"Use {', '.join(info.name for info in offered(public=True))}."


def _known() -> str:
    return f"Use {', '.join(info.name for info in CATALOGUE)}, a local directory or a Hub id."


def _require_weights(folder: Path, ref: str, stored: int) -> None:
    """Refuse what declares more weights than it stores: transformers would make up the rest, at any size."""
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if hasattr(config, "quantization_config"):  # several values in one that is stored
            return
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
        declared = sum(parameter.numel() for parameter in model.parameters())
    except Exception as error:
        raise _unloadable(ref, error) from error
    if declared > stored:
        raise IntegrityError(
            "target", ref, f"lacks weights: {declared:,} are declared and {stored:,} stored",
            "Save or download the model again.",
        )  # fmt: skip


def _unloadable(ref: str, error: Exception) -> InputError:
    """What is wrong with files, of which transformers tells in many kinds of errors."""
    reason = clip((str(error) or type(error).__name__).splitlines()[0], 200)
    return InputError(
        "target", ref, f"cannot be loaded as a causal language model ({reason})",
        "Save it with save_pretrained, in safetensors, from an architecture transformers knows.",
    )  # fmt: skip


def _load_model(folder: Path, ref: str, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the caller shows progress
    load: Any = AutoModelForCausalLM.from_pretrained
    settings: dict[str, Any] = {
        "dtype": dtype, "trust_remote_code": False, "use_safetensors": True, "local_files_only": True,
        "output_loading_info": True,
    }  # fmt: skip
    try:
        try:
            model, report = load(folder, attn_implementation="sdpa", **settings)
        except ValueError as error:
            if "scaled_dot_product_attention" not in str(error):
                raise
            model, report = load(folder, attn_implementation="eager", **settings)
        model = model.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise ResourceError(
            "target", ref, "does not fit into the GPU's memory", "Use a smaller model."
        ) from error
    except LetheError:
        raise
    except Exception as error:
        raise _unloadable(ref, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise IntegrityError(
            "target", ref, f"lacks {len(missing)} of its weights, for example {missing[0]}",
            "Save or download the model again.",
        )  # fmt: skip
    for name, parameter in model.named_parameters():
        if not bool(torch.isfinite(parameter).all()):
            raise IntegrityError(
                "target", ref, f"holds weights that are not numbers ({name})", "Save it again."
            )
    loaded: PreTrainedModel = model.eval()
    return loaded


def _load_tokenizer(folder: Path, ref: str, model: PreTrainedModel) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:
        raise InputError(
            "target", ref, "has no tokenizer that can be loaded",
            "Save the tokenizer into the same directory with save_pretrained.",
        ) from error  # fmt: skip
    embeddings: Any = model.get_input_embeddings()
    rows = int(embeddings.weight.shape[0])
    if len(tokenizer) > rows:
        raise InputError(
            "target", ref, f"has a tokenizer of {len(tokenizer)} tokens for a model of {rows}",
            "Use the tokenizer the model was trained with.",
        )  # fmt: skip
    return tokenizer
