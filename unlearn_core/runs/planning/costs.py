"""What a run costs: estimated before it starts, measured after it, beside training the model again.

Time comes from counted FLOPs and a rate, as Xia et al. 2024 (arXiv 2408.04693) take throughput from a
measured fit; money is hours times a price from an editable table. Training again without the forget set is
the honest alternative: 6 FLOPs a parameter and training token (Kaplan et al. 2020), the scale of Cottier
et al. 2024 (arXiv 2405.21015).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import Action, InputError, ResourceError
from unlearn_core.limits import RUN_BYTES
from unlearn_core.system.machine import gpu
from unlearn_core.system.machine.gpu import has_gpu, reset_peak
from unlearn_core.system.machine.memory import peak_memory, reset_high_water, resident_memory
from unlearn_core.system.units import duration

if TYPE_CHECKING:
    import torch

    from unlearn_core.training.resources.estimate import ResourceEstimate

CostJson = dict[str, Any]  # what `Cost.to_json` writes
UTILISATION = 0.4  # share of a device's peak that training reaches, where nothing was measured
_TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022: least training data of a well-trained model
# Training tokens that are published: OLMo 1B and 7B, Groeneveld et al. 2024, arXiv 2402.00838, Table 1.
_TRAINING_TOKENS = {"lume-1b": 2.0e12, "lume-7b": 2.46e12}

_GONE_WITH_LORA = ("weights before the run", "optimiser", "best weights so far")


@dataclass(frozen=True)
class Device:
    """One row of the price table; money and peak rate are None where they are not known."""

    name: str
    usd_per_hour: float | None
    memory_gb: float | None
    tflops: float | None


@dataclass(frozen=True)
class Cost:
    """Seconds, FLOPs, bytes at the peak and US dollars; None where nothing is known."""

    seconds: float | None
    flops: float | None
    memory: int | None
    dollars: float | None
    device: str
    retraining_flops: float | None = None
    retraining_dollars: float | None = None
    parts: dict[str, int] | None = None  # bytes by purpose at the peak

    def to_json(self) -> CostJson:
        return asdict(self)


def devices(home: Path | None = None) -> tuple[Device, ...]:
    """The price table: `prices.json` in the home folder, or the one that ships."""
    from unlearn_core.system.assets import assets_directory

    own = home / "prices.json" if home is not None else None
    path = own if own is not None and own.is_file() else assets_directory() / "prices.json"
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["devices"]
        found = tuple(Device(**row) for row in rows)
        assert all(isinstance(row.name, str) for row in found)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        problem = "is not a price table"
        raise InputError("prices", path.name, problem, 'Write {"devices": [{"name": ...}]}.') from None
    return found


def device(name: str | None, home: Path | None = None) -> Device:
    """The row called `name`; without a name the first, which stands for this machine and is called by its GPU,
    where it has one."""
    rows = devices(home)
    if name is None:
        return replace(rows[0], name=f"this {gpu.name()}") if has_gpu() else rows[0]
    for row in rows:
        if row.name.lower() == name.lower():
            return row
    raise InputError("device", name, "is not in the price table", f"Use {', '.join(r.name for r in rows)}.")


def money(seconds: float | None, on: Device, number: int = 1) -> float | None:
    """US dollars for `seconds` on `number` devices."""
    if seconds is None or on.usd_per_hour is None:
        return None
    return seconds / 3600 * on.usd_per_hour * number


def before(
    found: ResourceEstimate,
    on: Device,
    *,
    target: str = "",
    seconds: float | None = None,
    rate: float | None = None,
    resident: int = 0,
    number: int = 1,
) -> Cost:
    """The cost of a run that has not begun.

    seconds: where earlier runs tell. rate: FLOP/s at which this machine really works; the table's peak times
    UTILISATION where it is None. resident: bytes the process holds anyhow.
    """
    peak = on.tflops * 1e12 * UTILISATION * number if on.tflops is not None else None
    speed = rate or peak
    if seconds is None and speed is not None:
        seconds = found.flops / speed
    again = 6.0 * found.num_parameters * _training_tokens(target, found.num_parameters)
    parts = max(found.training, found.scoring, key=lambda part: sum(part.values()))
    return Cost(
        seconds,
        found.flops,
        found.peak + resident,
        money(seconds, on, number),
        on.name,
        again,
        money(again / speed, on, number) if speed else None,
        parts,
    )


def usual_rate(dtype: torch.dtype) -> float:
    """FLOP/s to expect of this machine before any run has told: UTILISATION of a matrix product timed now."""
    from unlearn_core.models.loading_dtype import matrix_rate

    return UTILISATION * matrix_rate(dtype)


def _training_tokens(target: str, num_parameters: int) -> float:
    from unlearn_core.system.assets import assets_directory

    if target == "demo":
        try:
            manifest = json.loads((assets_directory() / "demo" / "manifest.json").read_text(encoding="utf-8"))
            models = manifest["models"]
            return float(sum(models[name]["training"]["tokens"] for name in ("base", "retain_only")))
        except (OSError, ValueError, KeyError, TypeError):
            pass
    return _TRAINING_TOKENS.get(target, float(_TOKENS_PER_PARAMETER * num_parameters))


class RunMeter:
    """Seconds and peak memory of a run under way."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        reset_peak()
        reset_high_water()

    def cost(self, on: Device, number: int = 1) -> Cost:
        """What was used until now; operations are not counted, because counting changes the last bits."""
        seconds = time.perf_counter() - self._began
        return Cost(seconds, None, peak_memory(), money(seconds, on, number), on.name)


def sentence(cost: CostJson) -> str:
    """One line for people, for example "about 12 s, 0.9 GB of memory, 3.1 TFLOPs, $0.01 (H100 80GB)"."""
    words = []
    if cost.get("seconds") is not None:
        words.append(duration(cost["seconds"]))
    if cost.get("memory") is not None:
        words.append(f"{cost['memory'] / 1e9:.1f} GB of memory")
    if cost.get("flops") is not None:
        words.append(scaled(cost["flops"]))
    if cost.get("dollars"):
        words.append(f"${cost['dollars']:,.2f}")
    line = ", ".join(words) + f" on {cost.get('device', 'this machine')}"
    if cost.get("retraining_flops") and cost.get("flops"):
        times = cost["retraining_flops"] / cost["flops"]
        line += f"; training it again from scratch is {times:,.3g} times the work"
        if cost.get("retraining_dollars"):
            line += f" (${cost['retraining_dollars']:,.0f})"
    return line


def in_words(cost: CostJson) -> str:
    """The same for whoever reads a page: "About 25 s and 1.1 GB of memory on this CPU." """
    takes = [duration(cost["seconds"])] if cost.get("seconds") is not None else []
    if cost.get("memory") is not None:
        takes.append(f"{cost['memory'] / 1e9:.1f} GB of memory")
    line = f"About {' and '.join(takes)} on {cost.get('device', 'this machine')}"
    line += f", for ${cost['dollars']:,.2f}." if cost.get("dollars") else "."
    if cost.get("retraining_flops") and cost.get("flops"):
        factor = cost["retraining_flops"] / cost["flops"]
        line += f" Training it again without the data is about {times(factor)} the work."
    return line


def times(factor: float) -> str:
    """How many times, as people say it: `half`, `5 times`, `12 million times`."""
    if factor < 0.75:
        return "half" if factor >= 0.4 else "less than half"
    for unit, size in ((" billion", 1e9), (" million", 1e6)):
        if factor >= size:
            return f"{factor / size:,.0f}{unit} times"
    digits = max(0, len(f"{factor:.0f}") - 2)
    return f"{round(factor, -digits):,.0f} times" if factor >= 1.5 else "as much as"


def shortage(cost: Cost, free: int) -> ResourceError | None:
    """What to change where a run would take more than the `free` bytes; None where it fits."""
    if cost.memory is None or cost.memory <= free:
        return None
    parts = cost.parts or {}
    step = parts.get("activations, logits, gradients", 0) + parts.get("allocator", 0)  # whose holes lie among them
    kept = sum(size for purpose, size in parts.items() if purpose in _GONE_WITH_LORA)
    action: Action | None = None
    if max(step, kept) < cost.memory - free:
        mend = "Choose a smaller model or a larger machine."
    elif kept >= step:
        mend, action = "Train LoRA instead of full weights.", ("adapter", "lora")
    else:
        mend, action = "Use a smaller batch size or shorter rows.", ("batch_size", "half")
    problem = f"needs about {cost.memory / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
    return ResourceError("memory", "this run", problem, mend, action)


def check_room(cost: Cost, place: torch.device, public: bool) -> None:
    """ResourceError where a run takes more than is free at its `place`, or than a stranger's may."""
    from unlearn_core.models.files import model_files

    if public and (cost.memory or 0) > RUN_BYTES:
        problem = f"would take about {cost.memory / 2**30:.1f} GiB of memory" if cost.memory else ""
        mend = f"Use a smaller batch_size or shorter rows: {RUN_BYTES / 2**30:g} GiB is the limit here."
        raise ResourceError("memory", "this run", problem, mend)
    # A GPU says when its memory is short, and less is computed at once; the system just ends a process.
    if place.type == "cpu" and (short := shortage(cost, model_files.free_memory(place) + resident_memory())):
        raise short


def scaled(flops: float) -> str:
    for unit, size in (("EFLOPs", 1e18), ("PFLOPs", 1e15), ("TFLOPs", 1e12)):
        if flops >= size:
            return f"{flops / size:.1f} {unit}"
    return f"{flops / 1e9:.0f} GFLOPs"
