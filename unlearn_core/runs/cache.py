"""Scores of models that do not change, kept by weights hash, data and the metrics there are: the original is
scored once."""

from __future__ import annotations

import hashlib
from pathlib import Path

from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import LetheError
from unlearn_core.evaluation.metrics.registry import schema
from unlearn_core.evaluation.protocols.base import Protocol
from unlearn_core.evaluation.scores import Scores
from unlearn_core.system.files import read_json, write_json
from unlearn_core.system.log import LOGGER


class ScoreCache:
    """Scores as JSON files under `home/cache/scores`. A damaged or missing file is a miss, never an error."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "cache" / "scores"

    def read(
        self, weights_hash: str, data: UnlearningData, prompt: str = "", protocol: Protocol | None = None
    ) -> Scores | None:
        """`prompt`: the digest of the prompt format; `protocol`: the benchmark it is scored by besides."""
        try:
            scores = Scores.from_json(read_json(self._path(weights_hash, data, prompt, protocol)))
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return scores if scores.weights_hash == weights_hash else None

    def write(self, scores: Scores, data: UnlearningData, protocol: Protocol | None = None) -> None:
        """Keep the scores; where that fails the run goes on without."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._path(scores.weights_hash, data, scores.prompt, protocol)
            write_json(path, scores.to_json(generations=True, rows=True))
        except (OSError, ValueError, LetheError):
            LOGGER.exception("scores could not be cached")

    def _path(self, weights_hash: str, data: UnlearningData, prompt: str, protocol: Protocol | None) -> Path:
        kinds = "".join(row.kind[0] for split in (data.forget, data.retain) for row in split)
        facts: tuple[object, ...] = (schema(), weights_hash, data.fingerprint, data.question_form, data.max_new_tokens)
        facts += (kinds, prompt) if protocol is None else (kinds, prompt, protocol.name, protocol.source)
        return self._folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()}.json"
