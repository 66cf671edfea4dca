"""Target models by name: the catalogue, and where a reference leads. Nothing is read or fetched.

demo, demo:retain_only     the bundled models
smollm2, qwen2.5-0.5b ...  small instruct models, from the Hub; LETHE_SMOLLM2 may name a local copy of the first
lume-1b, lume-7b           the benchmark's own targets, from the Hub
DIRECTORY or FILE.gguf     a model on disk
owner/name[@revision]      a model on the Hub
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from unlearn_core.errors import InputError, IntegrityError
from unlearn_core.models.files.gguf_files import SUFFIX
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.hub import HUB_ID

_LUME = "llmunlearningsemeval2025organization"
_MAX_REF = 4096
# Names that load like the catalogue's but are not offered as something to unlearn.
_BUNDLED = {"demo": "original", "demo:original": "original", "demo:retain_only": "retain_only"}


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


def bundled_directory(ref: str) -> Path | None:
    """The folder of a bundled model, or None where `ref` names no bundled model."""
    part = _BUNDLED.get(ref)
    return assets_directory() / "demo" / part if part else None


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
