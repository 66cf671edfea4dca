"""Run the protocol on a model and write the organisers' files, from which anyone can score it."""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.data.encode import Encoded, text_ids
from unlearn_core.data.rows.lume import official_id
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.evaluate import EvaluationSettings, evaluate
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.base import OWN
from unlearn_core.evaluation.protocols.official import score_directory, write_generations, write_losses, write_result
from unlearn_core.evaluation.protocols.terms.passes import AnswerReader
from unlearn_core.evaluation.scores import SPLITS, Scores
from unlearn_core.system.files import write_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.evaluation.protocols.official import OfficialResult


def infer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: UnlearningData, out: Path
) -> Generator[Progress, None, tuple[Scores, OfficialResult]]:
    """Yield Progress; write generations, losses, MMLU metrics and the result into `out`.

    Returns the scores and the official result. MMLU metrics are written for letter questions only.
    """
    for split in SPLITS:
        if not getattr(data, split):
            raise InputError("data", data.name, f"has no {split} rows", "The protocol needs both sets.")
    settings = EvaluationSettings(paraphrases=False, beyond=False)
    scores = yield from evaluate(model, tokenizer, data, settings=settings)
    for split in SPLITS:
        rows: Sequence[Example] = getattr(data, split)
        losses = yield from row_losses(model, tokenizer, rows, f"{split} losses")
        written = [replace(g, id=official_id(g.id, g.kind)) for g in scores.generations if g.split == split]
        write_generations(out, split, written, losses)
    for side in ("member", "nonmember"):
        found, ids = getattr(scores.details, f"{side}_losses"), getattr(data, f"{side}_ids")
        if len(ids) != len(found):  # typed in, or one of them has no token to be scored
            ids = tuple(map(str, range(len(found))))
        if found:
            write_losses(out, side, list(zip(ids, found, strict=True)))
    metrics = None
    asked = scores.details.utility
    if asked is not None and data.questions and data.question_form == "letter":
        metrics = out / "metrics.json"
        write_text(metrics, json.dumps(asked.metrics))
    result = score_directory(out, mmlu=metrics)
    write_result(result, out)
    return scores, result


def row_losses(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Example], stage: str
) -> Generator[Progress, None, list[float]]:
    """NLL per answer token (nats) of `input + output` joined without a space: stored, never scored."""
    encoded = []
    for row in rows:
        num_prompt = len(text_ids(tokenizer, row.input))
        encoded.append(Encoded(tuple(text_ids(tokenizer, row.input + row.output)), max(1, num_prompt)))
    readings = yield from AnswerReader(model, tokenizer, OWN).read(stage, encoded)
    return [reading.loss for reading in readings]
