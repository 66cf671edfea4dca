"""Lethe: make a language model forget, and see whether it did.

    from unlearn_core import RunSpec, run
    for event in run(RunSpec(target="demo", data="demo", method="npo")):
        print(event)

Importing this package is fast: nothing heavy is loaded until a name below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unlearn_core.system.version import __version__

if TYPE_CHECKING:
    from unlearn_core.data.sources import load_data, parse_facts, preview
    from unlearn_core.data.types import Example, Question, UnlearningData
    from unlearn_core.errors import InputError, LetheError
    from unlearn_core.evaluation.evaluate import evaluate
    from unlearn_core.evaluation.scores import Scores
    from unlearn_core.evaluation.verdict import Verdict
    from unlearn_core.jobs.worker import Worker
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.run import Control, run
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.store.audits import run_audits
    from unlearn_core.store.store import RunStore

_HOMES = {
    "Control": "runs.run",
    "Example": "data.types",
    "InputError": "errors",
    "LetheError": "errors",
    "Question": "data.types",
    "RunSpec": "runs.spec",
    "RunStore": "store.store",
    "Scores": "evaluation.scores",
    "UnlearningData": "data.types",
    "Verdict": "evaluation.verdict",
    "Worker": "jobs.worker",
    "evaluate": "evaluation.evaluate",
    "load_data": "data.sources",
    "load_target": "models.targets",
    "parse_facts": "data.sources",
    "preview": "data.sources",
    "run": "runs.run",
    "run_audits": "store.audits",
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
