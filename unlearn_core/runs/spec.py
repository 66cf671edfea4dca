"""What a run is asked to do: plain data, validated before anything is loaded, written into every run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from unlearn_core.data.prompt_format import PROMPTS
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.registry import AUTO, PROTOCOLS, SEMEVAL

ADAPTERS = ("full", "lora")
MAX_STEPS = 100_000
SpecJson = dict[str, Any]  # what `RunSpec.to_json` writes; an earlier version's has fewer fields
Settings = dict[str, Any]  # a method's parameters that differ from its defaults, by name


@dataclass(frozen=True)
class RunSpec:
    """One run: forget `data` from `target` with `method`.

    target: "demo", a local directory or a Hub id (optionally `id@revision`); data: the same, or a file.
    method: a name from the registry; settings: its parameters (see `lethe methods`).
    steps: optimiser steps, None for the method's own number, which grows with the forget set. adapter:
    "full", "lora" or None to choose by model size. keep_best: end with the best weights that were watched
    on the way rather than the last ones (see `training.watching.canary`). save: keep the unlearned weights in the
    run's folder.
    """

    target: str = "demo"
    data: str = "demo"
    method: str = "lethe"
    settings: Settings = field(default_factory=dict)
    steps: int | None = None
    seed: int = 0
    adapter: str | None = None
    subject: str | None = None  # forget the rows about it alone, and keep all others
    retain_data: str | None = None  # a separate retain set, where `data` holds only the forget set
    columns: dict[str, str] = field(default_factory=dict)  # field name -> column of the user's file
    retain_model: str | None = None  # a model that never saw the forget set, or a file of its stored scores
    protocol: str = AUTO  # the benchmark it is scored by; by its data's own where "auto"
    mmlu: str | None = None  # a directory or Hub id with MMLU questions, where the data brings none
    prompt: str = "auto"  # how prompts are put to the model (see `data.prompt_format`); a run names what it used
    keep_best: bool = False
    save: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        for key in ("target", "data", "method"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise InputError(key, value, "is empty", f"Name a {key}, for example `demo`.")
        for key in ("subject", "retain_data", "retain_model", "mmlu", "name"):
            value = getattr(self, key)
            if not isinstance(value, str) and not (value is None and key != "name"):
                raise InputError(key, value, "is not text", "Write it in quotes.")
        for key in ("settings", "columns"):
            value = getattr(self, key)
            if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
                raise InputError(key, value, "is not a mapping", "Give name=value pairs.")
        for key in ("save", "keep_best"):
            if not isinstance(getattr(self, key), bool):
                raise InputError(key, getattr(self, key), "is not true or false", "Use true or false.")
        if self.steps is not None and not (_is_int(self.steps) and 1 <= self.steps <= MAX_STEPS):
            raise InputError("steps", self.steps, "is not a number of steps", f"Use 1 to {MAX_STEPS}.")
        if not _is_int(self.seed) or not 0 <= self.seed < 2**31:
            raise InputError("seed", self.seed, "is not a seed", "Use a whole number from 0 to 2147483647.")
        if self.prompt not in PROMPTS:
            raise InputError("prompt", self.prompt, "is not a prompt format", f"Use one of {', '.join(PROMPTS)}.")
        if self.protocol not in (AUTO, SEMEVAL, *PROTOCOLS):
            known = ", ".join((AUTO, SEMEVAL, *PROTOCOLS))
            raise InputError("protocol", self.protocol, "is not a benchmark", f"Use one of {known}.")
        if self.adapter is not None and self.adapter not in ADAPTERS:
            raise InputError("adapter", self.adapter, "is unknown", f"Use one of {', '.join(ADAPTERS)}.")

    def to_json(self) -> SpecJson:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> RunSpec:
        """The spec in `record`; unknown keys are an error, so that a misspelt one is never ignored."""
        if not isinstance(record, dict):
            raise InputError("spec", record, "is not a JSON object", 'Write {"target": "demo", ...}.')
        known = {f.name for f in fields(cls)}
        for key in record:
            if key not in known:
                raise InputError("spec", key, "is not a field of a run", f"Known: {', '.join(sorted(known))}.")
        return cls(**record)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
