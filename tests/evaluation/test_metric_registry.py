"""One registry of metrics: every field of a score has its metric, and a new metric is never silently missing."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.data.types import UnlearningData
from unlearn_core.evaluation.evaluate import evaluate
from unlearn_core.evaluation.metrics import registry
from unlearn_core.evaluation.metrics.registry import DETAILS, METRICS, Metric, schema
from unlearn_core.evaluation.progress import result_of
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.cache import ScoreCache

COMPARED = {"forget_quality"}  # known beside a retain model alone


def test_every_field_of_a_score_has_a_metric() -> None:
    filled = [metric.field or metric.name for metric in DETAILS]
    assert {one.name for one in fields(ScoreDetails)} == {*filled} | COMPARED
    assert len(filled) == len(set(filled))
    own = {metric.name for metric in METRICS.values() if metric not in DETAILS}
    assert own == {"terms", "aggregated_terms", *(total.name for total in semeval.TOTALS)}
    assert own < {one.name for one in fields(Scores)}
    for metric in METRICS.values():
        assert metric.title, metric.name
        assert metric.unit, metric.name


def test_scores_kept_before_a_metric_came_are_measured_anew(
    tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = result_of(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data))
    cache = ScoreCache(tmp_path)
    cache.write(scores, tiny_data)
    kept = cache.read(scores.weights_hash, tiny_data, scores.prompt)
    assert kept is not None
    assert kept.details == Scores.from_json(json.loads(json.dumps(scores.to_json()))).details
    new = Metric("one_more", "One more", "share", True, lambda measured: 1.0)
    before = schema()
    monkeypatch.setattr(registry, "METRICS", {**METRICS, new.name: new})
    assert schema() != before
    assert cache.read(scores.weights_hash, tiny_data, scores.prompt) is None
    changed = replace(METRICS["nll"], version=2)
    monkeypatch.setattr(registry, "METRICS", {**METRICS, "nll": changed})
    assert cache.read(scores.weights_hash, tiny_data, scores.prompt) is None


def test_a_record_of_an_earlier_version_is_read_as_far_as_it_goes(
    tiny_model: Any, tiny_tokenizer: Any, tiny_data: UnlearningData
) -> None:
    record = result_of(evaluate(tiny_model("olmo2"), tiny_tokenizer, tiny_data)).to_json()
    whole = Scores.from_json(record).details
    assert whole.utility is not None
    assert whole.fluency["forget"] is not None
    assert whole.perfect_forgetting is not None
    record["details"] = {"nll": record["details"]["nll"], "a field that went": 3, "attacks": None}
    found = Scores.from_json(record).details
    assert found == ScoreDetails(nll=whole.nll)
