"""Score the bundled models before anybody asks, so that the first run of the page finds them in the cache."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from unlearn_core.data.sources import load_data
from unlearn_core.runs.cache import ScoreCache
from unlearn_core.runs.references import read_wiped, score_wiped
from unlearn_core.runs.rows import ground_of


def prescore(home: Path, stop: Callable[[], bool]) -> None:
    """Fill the score cache for the bundled original and retain-only models, then score the wiped one that
    runs are compared with; gives way as soon as `stop()`."""
    from unlearn_core.evaluation.evaluate import evaluate
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.run import RETAIN_ONLY

    data, cache = load_data("demo"), ScoreCache(home)
    for ref in ("demo", RETAIN_ONLY):
        target = load_target(ref)
        if cache.read(target.weights_hash, data) is not None:
            continue
        batches = evaluate(target.model, target.tokenizer, data, weights_hash=target.weights_hash)
        while not stop():
            try:
                next(batches)
            except StopIteration as done:
                cache.write(done.value, data)
                break
        else:
            return
    target = load_target("demo")
    facts = {"weights_hash": target.weights_hash, "data_fingerprint": data.fingerprint}
    if read_wiped(home, ground_of({"original": facts})) is None:
        work = score_wiped(home, target, data)
        while not stop() and next(work, None) is not None:
            pass
