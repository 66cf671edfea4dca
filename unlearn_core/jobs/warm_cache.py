"""Score the bundled models before anybody asks, so that the first run of the page finds them in the cache."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

from unlearn_core.data.sources import load_data
from unlearn_core.evaluation.progress import Progress
from unlearn_core.runs.cache import ScoreCache
from unlearn_core.store.references import read_wiped, score_wiped
from unlearn_core.store.table.rows import ground_of


def prescore(home: Path) -> Generator[Progress]:
    """Fill the score cache for the bundled original and retain-only models, then score the wiped one that
    runs are compared with, bit by bit: whoever has something better to do closes it."""
    from unlearn_core.evaluation.evaluate import evaluate
    from unlearn_core.models.catalogue import retain_model_of
    from unlearn_core.models.targets import load_target
    from unlearn_core.system.machine.memory import release_memory

    data, cache = load_data("demo"), ScoreCache(home)
    try:
        for ref in filter(None, ("demo", retain_model_of("demo", data.name))):
            target = load_target(ref)
            if cache.read(target.weights_hash, data) is None:
                known = target.weights_hash
                scores = yield from evaluate(target.model, target.tokenizer, data, weights_hash=known)
                cache.write(scores, data)
        target = load_target("demo")
        facts = {"weights_hash": target.weights_hash, "data_fingerprint": data.fingerprint}
        if read_wiped(home, ground_of({"original": facts})) is None:
            yield from score_wiped(home, target, data)
    finally:
        release_memory()
