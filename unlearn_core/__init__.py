"""Lethe: make a language model forget, and see whether it did.

    from unlearn_core import RunSpec, run
    for event in run(RunSpec(target="demo", data="demo", method="npo")):
        print(event)

Importing this package is fast: nothing heavy is loaded until a name below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unlearn_core.data.sources import load_data, parse_facts, preview
    from unlearn_core.data.types import Example, Question, UnlearningData
    from unlearn_core.errors import InputError, LetheError
    from unlearn_core.evaluation.evaluate import evaluate
    from unlearn_core.evaluation.scores import Scores, Verdict
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.audits import run_audits
    from unlearn_core.runs.run import Control, run
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.runs.store import RunStore
    from unlearn_core.runs.worker import Worker

__version__ = "0.1.0"

_HOMES = {
    "Control": "runs.run",
    "Example": "data.types",
    "InputError": "errors",
    "LetheError": "errors",
    "Question": "data.types",
    "RunSpec": "runs.spec",
    "RunStore": "runs.store",
    "Scores": "evaluation.scores",
    "UnlearningData": "data.types",
    "Verdict": "evaluation.scores",
    "Worker": "runs.worker",
    "evaluate": "evaluation.evaluate",
    "load_data": "data.sources",
    "load_target": "models.targets",
    "parse_facts": "data.sources",
    "preview": "data.sources",
    "run": "runs.run",
    "run_audits": "runs.audits",
}
__all__ = [
    "Control",
    "Example",
    "InputError",
    "LetheError",
    "Question",
    "RunSpec",
    "RunStore",
    "Scores",
    "UnlearningData",
    "Verdict",
    "Worker",
    "__version__",
    "evaluate",
    "load_data",
    "load_target",
    "parse_facts",
    "preview",
    "run",
    "run_audits",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
