"""Scores of models that do not change, kept by weights hash and data: the original is scored once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import LetheError
from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.files import write_json
from unlearn_core.runs.log import LOGGER

_VERSION = 2  # of what the scores hold; another number, another cache


class ScoreCache:
    """Scores as JSON files under `home/cache/scores`. A damaged or missing file is a miss, never an error."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "cache" / "scores"

    def read(self, weights_hash: str, data: UnlearningData) -> Scores | None:
        try:
            text = self._path(weights_hash, data).read_text(encoding="utf-8")
            scores = Scores.from_json(json.loads(text))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return scores if scores.weights_hash == weights_hash else None

    def write(self, scores: Scores, data: UnlearningData) -> None:
        """Keep the scores; where that fails the run goes on without."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_json(self._path(scores.weights_hash, data), scores.to_json(generations=True))
        except (OSError, ValueError, LetheError):
            LOGGER.exception("scores could not be cached")

    def _path(self, weights_hash: str, data: UnlearningData) -> Path:
        facts = (_VERSION, weights_hash, data.fingerprint, data.question_form, data.max_new_tokens)
        return self._folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.json"
