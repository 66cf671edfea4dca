"""Fetching a model from the Hub: sizes and kinds of its files are checked before the download starts."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.models.model_files import TensorInfo, gigabytes, memory_needed, require_memory

if TYPE_CHECKING:
    import torch

# Weights, configuration and tokenizer; never Python files or pickles.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_UNWANTED = ("*/*", "consolidated*")
_HTTP_CLIENTS = ("httpx", "httpcore", "requests", "urllib3")


def fetch_snapshot(
    repo: str, revision: str | None, ref: str, dtype: torch.dtype, device: torch.device
) -> tuple[Path, str]:
    """The local folder of a Hub model and its commit, from the cache where the Hub is out of reach.

    Raises before the download where the weights would not fit into `device`'s memory as `dtype`. A token
    is taken from the environment (HF_TOKEN) by huggingface_hub itself.
    """
    from huggingface_hub import HfApi, snapshot_download

    settings: dict[str, Any] = {
        "repo_id": repo, "allow_patterns": list(_WANTED), "ignore_patterns": list(_UNWANTED),
    }  # fmt: skip
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=20)
        commit = info.sha or revision or "main"
        _check_listing(ref, {file.rfilename: file.size or 0 for file in info.siblings or ()})
        counts = getattr(info.safetensors, "parameters", None) or {}
        stored = tuple(TensorInfo("", kind, count) for kind, count in counts.items())
        require_memory(ref, memory_needed(stored, dtype), device)
        return Path(snapshot_download(revision=commit, **settings)), commit
    except LetheError:
        raise
    except Exception as error:
        refusal = _refusal(ref, error)
        if refusal is not None:
            raise refusal from error
        if not _is_unreachable(error):
            raise
    try:
        folder = Path(snapshot_download(revision=revision, local_files_only=True, **settings))
    except (OSError, ValueError) as error:
        raise _no_network(ref) from error
    return folder, folder.name


def _check_listing(ref: str, sizes: dict[str, int]) -> None:
    import shutil

    from huggingface_hub import constants

    weights = {
        name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name
    }
    if not weights:
        raise InputError(
            "target", ref, "has no weights in safetensors",
            "Use a revision with safetensors; pickle files can run code and are never opened.",
        )  # fmt: skip
    cache = Path(constants.HF_HUB_CACHE)
    place = next(path for path in (cache, *cache.parents) if path.exists())
    needed, free = sum(weights.values()), shutil.disk_usage(place).free
    if needed > free:
        raise ResourceError(
            "target", ref, f"is a download of {gigabytes(needed)}, and {gigabytes(free)} of disk are free",
            "Free some space, or set HF_HOME to a larger disk.",
        )  # fmt: skip


def _refusal(ref: str, error: Exception) -> LetheError | None:
    """The Hub's own no, in people's words; None where it gave no answer at all."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("target", ref, "does not fit on the disk", "Free some space, or set HF_HOME.")
    if isinstance(error, GatedRepoError):
        return InputError(
            "target", ref, "is gated: its owner asks you to accept terms first",
            "Accept them on the model's page, then set HF_TOKEN to your access token.",
        )  # fmt: skip
    if isinstance(error, RevisionNotFoundError):
        return InputError("target", ref, "has no such revision", "Name a branch, tag or commit that exists.")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(
            "target", ref, "is not on the Hub, or is private",
            "Check the spelling; for a private model set HF_TOKEN to your access token.",
        )  # fmt: skip
    return None


def _is_unreachable(error: Exception) -> bool:
    """Whether no answer came: offline, no route, a server error. The cache may still hold the model."""
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError):
        return False  # the disk, not the network
    known = (HfHubHTTPError, LocalEntryNotFoundError, ConnectionError, TimeoutError)
    return isinstance(error, known) or type(error).__module__.partition(".")[0] in _HTTP_CLIENTS


def _no_network(ref: str) -> ResourceError:
    return ResourceError(
        "target", ref, "is not on this machine, and the Hub cannot be reached",
        "Connect to the network, name a local directory, or use `demo`.",
    )  # fmt: skip
