"""What a spec will take, from its words alone: the target's configuration is read, its weights are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.runs import costs
from unlearn_core.runs.spec import MAX_STEPS, RunSpec
from unlearn_core.runs.timing import Pace

# Shapes of well-known models (their published configurations), for planning before any download.
_OLMO = {"vocab_size": 50304, "max_position_embeddings": 2048, "pad_token_id": 1, "eos_token_id": 50279}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "lume-1b": ("olmo", {**_OLMO, "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 16,
                         "intermediate_size": 8192, "tie_word_embeddings": True}),
    "lume-7b": ("olmo", {**_OLMO, "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
                         "intermediate_size": 11008, "tie_word_embeddings": False}),
    "shape:13b": ("olmo2", {**_OLMO, "vocab_size": 100352, "hidden_size": 5120, "num_hidden_layers": 40,
                            "num_attention_heads": 40, "intermediate_size": 13824}),
    "shape:70b": ("llama", {"vocab_size": 128256, "hidden_size": 8192, "num_hidden_layers": 80,
                            "num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672,
                            "max_position_embeddings": 8192}),
}  # fmt: skip


def plan(
    spec: RunSpec, home: Path, *, on: str | None = None, processes: int = 1, public: bool = False
) -> costs.Cost:
    """The cost of `spec` on `processes` devices called `on` in the price table (None: this machine)."""
    from unlearn_core.data.sources import load_data
    from unlearn_core.models.targets import load_tokenizer_of

    data = load_data(spec.data, columns=spec.columns, retain=spec.retain_data, public=public,
                     uploads=home / "uploads")  # fmt: skip
    config, exact = configuration(spec.target, public)
    tokenizer = load_tokenizer_of(spec.target if exact else "demo")
    return plan_of(spec, config, tokenizer, data, home, on=on, processes=processes)


def plan_of(
    spec: RunSpec, config: Any, tokenizer: Any, data: UnlearningData, home: Path, *, on: str | None = None,
    processes: int = 1, per_step: float | None = None, later: float = 0.0,
) -> costs.Cost:  # fmt: skip
    """The same for a model and data at hand. per_step, later: seconds known from before, if any."""
    import torch

    from unlearn_core.methods import build
    from unlearn_core.models.adapters import LORA_FROM
    from unlearn_core.models.shape import Shape
    from unlearn_core.models.targets import best_device
    from unlearn_core.training.estimate import estimate

    place = costs.device(on, home)
    here = best_device().type
    gpu = place.tflops is not None or here == "cuda"
    dtype = torch.bfloat16 if gpu else torch.float32
    method = build(spec.method, spec.settings, spec.steps)
    if spec.steps is None and "steps" not in spec.settings:
        method = method.for_rows(len(data.forget), MAX_STEPS)
    shape = Shape(config, dtype, spec.adapter or "full")
    if spec.adapter is None and shape.trace(1, 8).num_parameters >= LORA_FROM:
        shape = Shape(config, dtype, "lora")
    kind = "cuda" if gpu else "cpu"
    found = estimate(shape, tokenizer, data, method, device=kind, processes=processes)
    seconds = per_step * method.steps + later if per_step is not None else None
    rate = Pace(home).read(RATE) if place.tflops is None else None
    resident = 0 if gpu else costs.resident_memory()
    return costs.before(found, place, target=spec.target, seconds=seconds, rate=rate, resident=resident,
                        number=processes)  # fmt: skip


RATE = "flops per second"  # what the last run on this machine came to, kept with the paces


def configuration(ref: str, public: bool = False) -> tuple[Any, bool]:
    """The target's configuration, and whether its files (and so its tokenizer) are at hand."""
    from transformers import AutoConfig

    from unlearn_core.models.targets import locate

    if ref in SHAPES and not public:
        kind, settings = SHAPES[ref]
        return AutoConfig.for_model(kind, **settings), False
    folder = locate(ref, public)
    if isinstance(folder, Path):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False), True
    raise InputError("target", ref, "is not on this machine", "Estimate a local one, `lume-1b` or `lume-7b`.")
