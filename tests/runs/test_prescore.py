"""Scoring the bundled models ahead of time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unlearn_core.data.sources import load_data
from unlearn_core.jobs import warm_cache
from unlearn_core.jobs.warm_cache import prescore
from unlearn_core.models.targets import load_target
from unlearn_core.runs.cache import ScoreCache

pytestmark = pytest.mark.slow


def test_it_gives_way_at_once_and_otherwise_fills_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, original = load_data("demo"), load_target("demo").weights_hash
    kinds = ("forget", "retain", "holdout", "general", "paraphrases", "questions", "members", "nonmembers")
    data = replace(data, **{kind: getattr(data, kind)[::10] for kind in kinds})  # its own would take half a minute
    monkeypatch.setattr(warm_cache, "load_data", lambda reference: data)
    begun = prescore(tmp_path)
    next(begun)
    begun.close()
    assert ScoreCache(tmp_path).read(original, data) is None
    for _ in prescore(tmp_path):
        pass
    scores = ScoreCache(tmp_path).read(original, data)
    assert scores is not None
    assert scores.terms["forget/Task2/knowledge"] == 1.0
