"""Fetching a model from the Hub: sizes and kinds of its files are checked before the download starts."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError, ResourceError
from unlearn_core.models.files.model_files import TensorInfo, gigabytes, memory_needed, require_memory
from unlearn_core.system.hub import is_unreachable

if TYPE_CHECKING:
    import torch

# Weights, configuration and tokenizer; never Python files or pickles.
_WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
_UNWANTED = ("*/*", "consolidated*")


class Unreachable(ResourceError):
    """No answer from the Hub, and no copy on this machine."""

    def __init__(self, ref: str) -> None:
        super().__init__(
            "target",
            ref,
            "is not on this machine, and the Hub cannot be reached",
            "Connect to the network, name a local directory, or use `demo`.",
            ("target", "demo"),
        )


@dataclass(frozen=True, slots=True)
class HubListing:
    """What the Hub says of a model before anything is downloaded: sizes in bytes, tensors by kind."""

    commit: str
    sizes: dict[str, int]
    tensors: tuple[TensorInfo, ...]

    @property
    def download(self) -> int:
        """Bytes of the weights."""
        return sum(weights_of(self.sizes).values())


def look_up(repo: str, revision: str | None, ref: str) -> HubListing:
    """Ask the Hub about a model. LetheError where it refuses or cannot be reached."""
    from huggingface_hub import HfApi

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=20)
    except Exception as error:
        raise _told(ref, error) from error
    counts = getattr(info.safetensors, "parameters", None) or {}
    stored = tuple(TensorInfo("", kind, count) for kind, count in counts.items())
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    return HubListing(info.sha or revision or "main", sizes, stored)


def fetch_snapshot(
    repo: str, revision: str | None, ref: str, dtype: torch.dtype, device: torch.device
) -> tuple[Path, str]:
    """The local folder of a Hub model and its commit, from the cache where the Hub is out of reach.

    Raises before the download where the weights would not fit into `device`'s memory as `dtype`. A token
    is taken from the environment (HF_TOKEN) by huggingface_hub itself.
    """
    from huggingface_hub import snapshot_download

    try:
        listing = look_up(repo, revision, ref)
        check_listing(ref, listing.sizes)
        require_memory(ref, memory_needed(listing.tensors, dtype), device)
        try:
            return Path(snapshot_download(revision=listing.commit, **_wanted(repo))), listing.commit
        except Exception as error:
            raise _told(ref, error) from error
    except Unreachable:
        folder = cached_snapshot(repo, revision, ref)
        return folder, folder.name


def cached_snapshot(repo: str, revision: str | None, ref: str) -> Path:
    """The folder of a model downloaded earlier; ResourceError where there is none."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(revision=revision, local_files_only=True, **_wanted(repo)))
    except (OSError, ValueError) as error:
        raise Unreachable(ref) from error


def _wanted(repo: str) -> dict[str, Any]:
    return {"repo_id": repo, "allow_patterns": list(_WANTED), "ignore_patterns": list(_UNWANTED)}


def weights_of(sizes: dict[str, int]) -> dict[str, int]:
    """The files that hold the weights, of all files with their sizes."""
    return {name: size for name, size in sizes.items() if name.endswith(".safetensors") and "/" not in name}


def check_listing(ref: str, sizes: dict[str, int]) -> None:
    """Refuse a model without safetensors, or larger than the disk's free space."""
    import shutil

    from huggingface_hub import constants

    weights = weights_of(sizes)
    if not weights:
        raise InputError(
            "target",
            ref,
            "has no weights in safetensors",
            "Use a revision with safetensors; pickle files can run code and are never opened.",
        )
    cache = Path(constants.HF_HUB_CACHE)
    place = next(path for path in (cache, *cache.parents) if path.exists())
    needed, free = sum(weights.values()), shutil.disk_usage(place).free
    if needed > free:
        raise ResourceError(
            "target",
            ref,
            f"is a download of {gigabytes(needed)}, and {gigabytes(free)} of disk are free",
            "Free some space, or set HF_HOME to a larger disk.",
        )


def _told(ref: str, error: Exception) -> Exception:
    """`error` in people's words, or itself where it is none of the Hub's or the network's."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceError("target", ref, "does not fit on the disk", "Free some space, or set HF_HOME.")
    if isinstance(error, GatedRepoError):
        return InputError(
            "target",
            ref,
            "is gated: its owner asks you to accept terms first",
            "Accept them on the model's page, then set HF_TOKEN to your access token.",
        )
    if isinstance(error, RevisionNotFoundError):
        return InputError("target", ref, "has no such revision", "Name a branch, tag or commit that exists.")
    if isinstance(error, RepositoryNotFoundError):
        return InputError(
            "target",
            ref,
            "is not on the Hub, or is private",
            "Check the spelling; for a private model set HF_TOKEN to your access token.",
        )
    return Unreachable(ref) if is_unreachable(error) else error
