"""What a spec will take, from its words alone: the target's configuration is read, its weights are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.errors import InputError
from unlearn_core.runs.data import rows_of
from unlearn_core.runs.planning import costs
from unlearn_core.runs.planning.timing import ThroughputCache
from unlearn_core.runs.spec import MAX_STEPS, RunSpec
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.memory import resident_memory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedConfig

    from unlearn_core.data.types import UnlearningData
    from unlearn_core.methods.base import Method
    from unlearn_core.models.shape import Shape
    from unlearn_core.models.targets import Target
    from unlearn_core.training.resources.estimate import Workload

ShapeOf = Callable[["torch.dtype", str], "Shape"]  # a dtype and an adapter

# Shapes of well-known models (their published configurations), for planning before any download.
_OLMO = {"vocab_size": 50304, "max_position_embeddings": 2048, "pad_token_id": 1, "eos_token_id": 50279}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "lume-1b": (
        "olmo",
        {
            **_OLMO,
            "hidden_size": 2048,
            "num_hidden_layers": 16,
            "num_attention_heads": 16,
            "intermediate_size": 8192,
            "tie_word_embeddings": True,
        },
    ),
    "lume-7b": (
        "olmo",
        {
            **_OLMO,
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 11008,
            "tie_word_embeddings": False,
        },
    ),
    "shape:13b": (
        "olmo2",
        {
            **_OLMO,
            "vocab_size": 100352,
            "hidden_size": 5120,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "intermediate_size": 13824,
        },
    ),
    "shape:70b": (
        "llama",
        {
            "vocab_size": 128256,
            "hidden_size": 8192,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "intermediate_size": 28672,
            "max_position_embeddings": 8192,
        },
    ),
}


class Planner:
    """Tells what specs will take, again and again while somebody chooses.

    What was read, traced and tokenised for the last targets and data is kept, so that another method or
    setting costs milliseconds. `counted` is called before data is read, and may refuse with a LetheError.
    """

    def __init__(self, home: Path, public: bool = False, counted: Callable[[], None] = lambda: None) -> None:
        self._home, self._public, self._counted = home, public, counted
        self._resident = resident_memory()
        self._shapes, self._works = lru_cache(maxsize=4)(self._shape), lru_cache(maxsize=4)(self._work)

    def plan(
        self, spec: RunSpec, *, on: str | None = None, processes: int = 1, seconds: float | None = None
    ) -> costs.Cost:
        """The cost of `spec` on `processes` devices called `on` in the price table (None: this machine).

        seconds: what the same run took here before, where that is known.
        """
        shape_of, exact = self._shapes(spec.target)
        return plan_of(
            spec,
            shape_of,
            self._rows(spec, exact),
            self._home,
            on=on,
            processes=processes,
            seconds=seconds,
            resident=self._resident,
        )

    def prompt_format(self, spec: RunSpec) -> str:
        """How the run will put prompts to the model, in sentences; nothing where its tokenizer is not here."""
        from unlearn_core.data.prompt_format import format_of

        exact = self._shapes(spec.target)[1]
        return format_of(self._rows(spec, exact).tokenizer).told() if exact else ""

    def _rows(self, spec: RunSpec, exact: bool) -> Workload:
        stamps = tuple(_changed(name) for name in (spec.data, spec.retain_data))
        return self._works(spec.target if exact else "demo", rows_of(spec), stamps, spec.prompt)

    def _shape(self, target: str) -> tuple[ShapeOf, bool]:
        from unlearn_core.models.shape import Shape

        config, exact = configuration(target, self._public)
        return cache(partial(Shape, config)), exact

    def _work(self, tokenizer_of: str, rows: str, stamps: tuple[int, ...], prompt: str) -> Workload:
        """`rows` is what `rows_of` says; `stamps` tell a changed file from the same one."""
        from unlearn_core.data.prompt_format import choose, named, put_on
        from unlearn_core.data.sources import sheet_of
        from unlearn_core.models.targets import load_tokenizer_of
        from unlearn_core.runs.data import asks_the_model, load_for, spec_of_rows, typical_subject, wanted_format
        from unlearn_core.training.resources.estimate import Workload

        self._counted()
        spec = spec_of_rows(rows)
        uploads = self._home / "uploads"
        if asks_the_model(spec):  # what it knows is found when the run begins
            loaded, of_sheet = typical_subject(), True
        else:
            loaded = load_for(spec, public=self._public, uploads=uploads)
            of_sheet = sheet_of(spec.data, public=self._public, uploads=uploads) is not None
        prompt = wanted_format(prompt, of_sheet)
        tokenizer = load_tokenizer_of(tokenizer_of)
        put_on(tokenizer, choose(tokenizer, loaded)[0] if prompt == "auto" else named(prompt, tokenizer))
        return Workload(tokenizer, loaded)


def plan(spec: RunSpec, home: Path, *, on: str | None = None, processes: int = 1, public: bool = False) -> costs.Cost:
    """What a `Planner` says, for a single question."""
    return Planner(home, public).plan(spec, on=on, processes=processes)


def _changed(name: str | None) -> int:
    try:
        return Path(name).stat().st_mtime_ns if name else 0
    except (OSError, ValueError):
        return 0


def plan_of(
    spec: RunSpec,
    shape_of: ShapeOf,
    work: Workload,
    home: Path,
    *,
    on: str | None = None,
    processes: int = 1,
    seconds: float | None = None,
    resident: int | None = None,
) -> costs.Cost:
    """The same for a model and rows at hand; `shape_of` gives the model's shape by dtype and adapter.

    resident: bytes that the process holds without a model; None for what it holds now.
    """
    import torch

    from unlearn_core.methods.capabilities import TrainsSubset
    from unlearn_core.models.adapters import LORA_FROM
    from unlearn_core.models.files.model_files import free_memory
    from unlearn_core.models.targets import best_device, default_dtype
    from unlearn_core.training.resources.estimate import estimate

    place = costs.device(on, home)
    here = best_device()
    gpu = place.tflops is not None or here.type == "cuda"
    method = method_of(spec, len(work.data.forget))
    adapter = spec.adapter or ("lora" if method.traits.adapter == "lora" else None)
    shape = shape_of(torch.bfloat16 if gpu else torch.float32, adapter or "full")
    num_parameters = shape.trace(8, 64).num_parameters
    loaded = default_dtype(torch.device("cuda" if gpu else "cpu"), num_parameters)
    if (adapter is None and num_parameters >= LORA_FROM) or adapter == "lora":
        shape = shape_of(loaded, "lora")  # such a model keeps the type that it is loaded in
        if isinstance(method, TrainsSubset):
            shape = replace(shape, trains=method.trains)
    kind = "cuda" if gpu else "cpu"
    room = int(1e9 * place.memory_gb) if place.memory_gb else None
    if room is None and here.type == "cuda":
        room = free_memory(here) + torch.cuda.memory_reserved(here)  # a model that is loaded is in the estimate
    found = estimate(shape, work, method, device=kind, room=room, processes=processes, seed=spec.seed)
    rate = None
    if place.tflops is None:
        rate = ThroughputCache(home).read(rate_of(loaded)) or costs.usual_rate(loaded)
    resident = 0 if gpu else resident or resident_memory()
    return costs.before(
        found, place, target=spec.target, seconds=seconds, rate=rate, resident=resident, number=processes
    )


def plan_of_loaded(spec: RunSpec, target: Target, data: UnlearningData, home: Path) -> costs.Cost:
    """The same for a model that is loaded, whose weights are not counted twice."""
    from unlearn_core.models.shape import Shape
    from unlearn_core.training.resources.estimate import Workload

    loaded = sum(p.numel() * p.element_size() for p in target.model.parameters())
    return plan_of(
        spec,
        partial(Shape, target.model.config),
        Workload(target.tokenizer, data),
        home,
        processes=distributed.size(),
        resident=max(1, resident_memory() - loaded),
    )


def method_of(spec: RunSpec, num_forget: int, most: int = MAX_STEPS) -> Method:
    """The method as the run carries it out: scaled to the number of rows, except for what the spec gives."""
    from unlearn_core.methods import build

    method = build(spec.method, spec.settings, spec.steps)
    given = {*spec.settings, *(("steps",) if spec.steps is not None else ())}
    return method.for_rows(num_forget, most, given)


def rate_of(dtype: torch.dtype) -> str:
    """Under which name what the last run on this machine came to, in FLOP/s, is kept with the paces, by the type that
    a model is loaded in: small ones in float32 come to a fraction of what large ones in bfloat16 do."""
    return f"flops per second, {str(dtype).removeprefix('torch.')}"


def configuration(ref: str, public: bool = False) -> tuple[PreTrainedConfig, bool]:
    """The target's configuration, and whether its files (and so its tokenizer) are at hand."""
    from transformers import AutoConfig

    from unlearn_core.models.catalogue import locate
    from unlearn_core.models.files.gguf_files import source_of

    if ref in SHAPES and not public:
        kind, settings = SHAPES[ref]
        return AutoConfig.for_model(kind, **settings), False
    folder = locate(ref, public)
    if isinstance(folder, Path):
        place, settings = source_of(folder, ref)
        return AutoConfig.from_pretrained(place, **settings), True
    raise InputError("target", ref, "is not on this machine", "Estimate a local one, `lume-1b` or `lume-7b`.")
