"""Scoring the bundled models ahead of time."""

from __future__ import annotations

from pathlib import Path

from unlearn_core.data.sources import load_data
from unlearn_core.jobs.warm_cache import prescore
from unlearn_core.models.targets import load_target
from unlearn_core.runs.cache import ScoreCache


def test_it_gives_way_at_once_and_otherwise_fills_the_cache(tmp_path: Path) -> None:
    data, original = load_data("demo"), load_target("demo").weights_hash
    begun = prescore(tmp_path)
    next(begun)
    begun.close()
    assert ScoreCache(tmp_path).read(original, data) is None
    for _ in prescore(tmp_path):
        pass
    scores = ScoreCache(tmp_path).read(original, data)
    assert scores is not None
    assert scores.terms["forget/Task2/knowledge"] == 1.0
