"""A run on a real subject: what the model knows of it becomes the run's data, and is asked again afterwards."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.data.sources import UPLOAD
from unlearn_core.data.subject_sheet import MAX_NEW_TOKENS, SubjectSheet, write_sheet
from unlearn_core.data.types import Example
from unlearn_core.evaluation.metrics.answer_probability import answer_log_probabilities
from unlearn_core.evaluation.metrics.contained import contains
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.system.files import disk_errors

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import Scores
    from unlearn_core.models.targets import Target
    from unlearn_core.runs.events import SaidJson


def keep_sheet(sheet: SubjectSheet, uploads: Path) -> str:
    """Keep the sheet among the files that were given; the name that a spec's `data` takes. Each run has its own,
    which goes with it."""
    token = secrets.token_hex(16)
    folder = uploads / token
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_sheet(sheet, folder / "subject.json")
    return f"{UPLOAD}{token}"


def answers(target: Target, sheet: SubjectSheet, scores: Scores) -> tuple[list[SaidJson], list[SaidJson]]:
    """For each prompt of the sheet, and each about a neighbour: what the model says, whether that names the answer,
    and the probabilities of the answer and of its likeliest other name.

    What was written when the model was scored is not written again.
    """
    written = {generation.input: generation.output for generation in scores.generations}
    asked = (*sheet.prompts, *sheet.neighbours)
    missing = [prompt.text for prompt in asked if prompt.text not in written]
    said = generate_all(target.model, target.tokenizer, missing, MAX_NEW_TOKENS)
    written |= dict(zip(missing, said, strict=True))
    rows = [(place, name) for place, prompt in enumerate(asked) for name in (prompt.answer, *prompt.aliases)]
    examples = [Example(str(n), asked[place].text, name) for n, (place, name) in enumerate(rows)]
    log_p = answer_log_probabilities(target.model, target.tokenizer, examples)
    found: list[SaidJson] = [
        {
            "says": written[prompt.text],
            "named": contains(written[prompt.text], prompt.answer, prompt.aliases),
            "probability": 0.0,
            "alias_probability": 0.0,
        }
        for prompt in asked
    ]
    for (place, name), value in zip(rows, log_p, strict=True):
        key = "probability" if name == asked[place].answer else "alias_probability"
        found[place][key] = max(found[place][key], round(math.exp(value), 6) if value == value else 0.0)
    return found[: len(sheet.prompts)], found[len(sheet.prompts) :]


def subject_json(sheet: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The sheet with what the models said: `before` and `after` of each prompt; None for what was not asked."""
    record = dict(sheet)
    for part in ("prompts", "neighbours"):
        record[part] = list(
            _beside(sheet[part], *(told.get(model, {}).get(part) for model in ("original", "unlearned")))
        )
    return record


def _beside(
    prompts: Sequence[Mapping[str, Any]], before: list[SaidJson] | None, after: list[SaidJson] | None
) -> Iterator[dict[str, Any]]:
    for place, prompt in enumerate(prompts):
        kept = {key: prompt[key] for key in ("text", "answer", "aliases", "split", "subject")}
        yield {**kept, "before": before and before[place], "after": after and after[place]}
