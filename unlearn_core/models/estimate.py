"""What a target will need, said before it is downloaded or loaded: parameters, download, memory.

Only headers are read, of local files or of the Hub's listing. Training memory is what stands whatever the
batch (see `shape.standing`); what the activations take comes on top (micro-batches shrink when memory runs
out), and `training.resources.estimate` tells that too, for a model whose configuration is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.models.adapters import LORA_FROM
from unlearn_core.models.catalogue import CATALOGUE, locate
from unlearn_core.models.files.adapter_folder import AdapterFolder
from unlearn_core.models.files.gguf_files import check_files
from unlearn_core.models.files.hub import Unreachable, cached_snapshot, check_listing, look_up
from unlearn_core.models.files.model_files import TensorInfo, free_memory, gigabytes, memory_needed
from unlearn_core.models.loading_dtype import default_dtype
from unlearn_core.models.shape import standing
from unlearn_core.models.targets import best_device

if TYPE_CHECKING:
    from pathlib import Path

_LORA_SHARE = 0.01  # of the parameters: rank 16 on every linear layer of OLMo 1B, less in larger models


@dataclass(frozen=True, slots=True)
class DownloadEstimate:
    """Bytes, and what they are compared with; `download` is 0 where the files are here already."""

    ref: str
    num_parameters: int
    download: int
    load: int
    full: int
    lora: int
    free: int
    device: str
    needs: str = ""  # of a target listed by name

    @property
    def default_adapter(self) -> str:
        return "lora" if self.num_parameters >= LORA_FROM else "full"

    @property
    def fits(self) -> bool:
        """Whether it can be trained here in the way that is the default for its size."""
        return (self.lora if self.default_adapter == "lora" else self.full) <= self.free

    def sentences(self) -> list[str]:
        """For people."""
        where = "on the GPU" if self.device == "cuda" else "of memory"
        size = f"{self.num_parameters / 1e6:,.1f} million parameters"
        here = f"{gigabytes(self.download)} to download" if self.download else "nothing to download"
        told = [
            f"{size}, {here}. About {gigabytes(self.load)} {where} to load, {gigabytes(self.lora)} to train "
            f"LoRA, {gigabytes(self.full)} to train full weights; {gigabytes(self.free)} are free here."
        ]
        if self.needs:
            told.append(f"It needs {self.needs}.")
        if self.load > self.free:
            told.append("It does not fit into this machine's memory: take a smaller model or a larger machine.")
        elif not self.fits:
            told.append("It can be loaded here, but training it will probably run out of memory.")
        return told


def estimate_target(ref: str, *, public: bool = False) -> DownloadEstimate:
    """What `ref` needs on this machine. Raises as `load_target` does, but downloads and loads nothing."""
    device = best_device()
    named = next((info for info in CATALOGUE if ref in (info.name, info.ref)), None)
    tensors, download = _look(locate(ref, public), ref)
    count = sum(tensor.num_values for tensor in tensors)
    dtype = default_dtype(device, count)
    load = memory_needed(tensors, dtype)
    full, lora = (
        load - count * dtype.itemsize + sum(standing(count, num_trained, dtype, adapter).values())
        for num_trained, adapter in ((count, "full"), (int(_LORA_SHARE * count), "lora"))
    )
    return DownloadEstimate(
        ref=ref,
        num_parameters=count,
        download=download,
        load=load,
        full=full,
        lora=lora,
        free=free_memory(device),
        device=device.type,
        needs=named.needs if named else "",
    )


def _look(place: Path | tuple[str, str | None], ref: str) -> tuple[tuple[TensorInfo, ...], int]:
    """Stored tensors, and bytes still to fetch."""
    if not isinstance(place, tuple):
        if (adapter := AdapterFolder.read(place, ref)) is not None:
            return _look(locate(adapter.base), adapter.base)
        return check_files(place, ref), 0
    repo, revision = place
    try:
        listing = look_up(repo, revision, ref)
    except Unreachable:
        return check_files(cached_snapshot(repo, revision, ref), ref), 0
    try:
        return check_files(cached_snapshot(repo, listing.commit, ref), ref), 0
    except Unreachable:
        check_listing(ref, listing.sizes)
        return listing.tensors, listing.download
