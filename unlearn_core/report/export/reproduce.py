"""The command that repeats a run, from its spec."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from unlearn_core.runs.spec import RunSpec

if TYPE_CHECKING:
    from unlearn_core.runs.spec import SpecJson

_FLAGS = ("target", "data", "subject", "method", "steps", "seed", "adapter")


def command(spec: SpecJson) -> str:
    """The `lethe run` line for a spec as `RunSpec.to_json` writes it."""
    plain = RunSpec.from_json(spec)
    words = ["lethe", "run"]
    for name in _FLAGS:
        value = getattr(plain, name)
        if value is not None:
            words += [f"--{name}", str(value)]
    if plain.retain_data:
        words += ["--retain", plain.retain_data]
    if plain.mmlu:
        words += ["--mmlu", plain.mmlu]
    for key, value in plain.columns.items():
        words += ["--column", f"{key}={value}"]
    for key, value in plain.settings.items():
        words += ["--set", f"{key}={value}"]
    if plain.prompt != "auto":
        words += ["--prompt", plain.prompt]
    if plain.keep_best:
        words.append("--keep-best")
    return shlex.join(words)
