"""Parametric knowledge traces of a kept run: its target and its weights, one after the other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.runs.data import load_for
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

if TYPE_CHECKING:
    from unlearn_core.evaluation.traces import Trace


def run_traces(run: str, *, home: str | Path | None = None, count: int | None = None) -> list[Trace]:
    """The traces of a run in the store; the models are in memory one at a time.

    InputError for a run that is not there, IntegrityError where its weights were not kept.
    """
    from unlearn_core.evaluation.traces import NUM_VECTORS, compare, find, read
    from unlearn_core.models.files.adapter_folder import base_dtype_of
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target

    store = RunStore(home)
    try:
        spec, weights = RunSpec.from_json(store.get(run).spec), store.weights(run)
        data = load_for(spec, uploads=store.uploads)
    finally:
        store.close()
    target = load_target(spec.target, dtype=base_dtype_of(weights))
    tokenizer = target.tokenizer
    use_format(target.model, tokenizer, data, spec.prompt)
    places = find(target.model, tokenizer, data, count or NUM_VECTORS, spec.seed)
    before = read(target.model, places)
    del target
    return compare(places, before, read(load_target(str(weights)).model, places), tokenizer)
