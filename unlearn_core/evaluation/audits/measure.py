"""The two figures every attack is read by: is the answer said, and how likely is it?

Each is a generator that yields what it spent (in tokens of a forward pass) and returns one score per row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unlearn_core.data.types import Example
from unlearn_core.evaluation.audits.case import Case
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.semeval import rouge_l_recall
from unlearn_core.models.generate import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Told:
    """What a model wrote for each row, and how much of the answer is in it (0..1)."""

    texts: tuple[str, ...]
    scores: np.ndarray


Measure = Callable[["PreTrainedModel", Sequence[Example]], Generator[float, None, np.ndarray]]


def told(
    case: Case, model: PreTrainedModel, rows: Sequence[Example], prompts: Sequence[str] | None = None
) -> Generator[float, None, Told]:
    """Greedy answers to the rows' prompts, or to `prompts` in their place."""
    asked = list(prompts) if prompts is not None else [row.input for row in rows]
    texts = [""] * len(asked)
    for batch in generate(model, case.tokenizer, asked, case.answer_limit):
        for index, text in zip(batch.indices, batch.texts, strict=True):
            texts[index] = text
        yield case.asking(len(batch.indices))
    scores = [recall(row.kind, row.output, text) for row, text in zip(rows, texts, strict=True)]
    return Told(tuple(texts), np.array(scores))


def compare(case: Case, model: PreTrainedModel, measure: Measure) -> Generator[float, None, Comparison]:
    """`measure` on the forgotten rows, on the control rows, and on the retain-only model."""
    forget = yield from measure(model, case.forget)
    controls = {"holdout": (yield from measure(model, case.holdout))}
    if case.retain_only is not None:
        controls["retain_only"] = yield from measure(case.retain_only, case.forget)
    return Comparison(forget, controls)


def recall(kind: str, answer: str, text: str) -> float:
    """How much of `answer` is in `text`: for a question whether it is said anywhere, word for word; for a
    completion ROUGE-L recall. An attacker reads the whole text, so exact match would miss leaks."""
    return rouge_l_recall(answer, text) if kind == "completion" else float(says(text, answer))


def says(text: str, answer: str) -> bool:
    """Whether the words of `answer` stand in `text` in a row, whatever their case and punctuation."""
    wanted = words(answer)
    return bool(wanted) and f" {' '.join(wanted)} " in f" {' '.join(words(text))} "


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def examples(
    rows: Sequence[Example], texts: Sequence[str], scores: np.ndarray, limit: int = 4
) -> tuple[dict[str, Any], ...]:
    """The rows that give most away, for people to read."""
    order = np.argsort(-scores, kind="stable")[:limit]
    return tuple(
        {
            "prompt": rows[i].input, "answer": rows[i].output, "said": texts[i].strip()[:300],
            "score": round(float(scores[i]), 3),
        }
        for i in order
    )  # fmt: skip


def share(value: float) -> str:
    """A share in words: `34%`."""
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.005 else "under 1%"


def controls_in_words(case: Case, comparison: Comparison) -> str:
    """`never-trained rows 0%, retain-only model 2%`."""
    titles = {"holdout": case.control_title, "retain_only": "retain-only model"}
    figures = comparison.figures
    return ", ".join(f"{titles[name]} {share(figures[name])}" for name in titles if name in figures)
