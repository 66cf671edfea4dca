"""MUSE's requests one after another (arXiv 2407.06460, criteria C5 and C6): scalability and sustainability.

scal   forget_1 .. forget_4 grow; each is forgotten by the target itself
sust   forget_1 .. forget_4 are disjoint requests; each is forgotten by what the one before left
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from unlearn_core.data.benchmarks.muse import folds
from unlearn_core.errors import InputError
from unlearn_core.runs.run import WEIGHTS
from unlearn_core.runs.spec import RunSpec


def fold_specs(spec: RunSpec, kind: str, out: Path) -> Iterator[tuple[str, RunSpec, Path]]:
    """Each fold's name, its run, and the folder that must hold its weights before the next is asked for.

    Raises InputError where the data of `spec` has no folds of this kind.
    """
    names = [name for name in folds(Path(spec.data)) if name.startswith(kind)]
    if not names:
        mend = "Name a folder laid out as muse-bench/MUSE-News; MUSE-Books has none."
        raise InputError("data", spec.data, f"has no folds of {kind}", mend)
    target = spec.target
    for name in names:
        folder = out / name
        yield name, replace(spec, target=target, data=f"{spec.data}:{name}", name=name, save=True), folder
        if kind == "sust":
            target = str(folder / WEIGHTS)
