"""The two figures every attack is read by: is the answer said, and how likely is it?

Each is a generator that yields what it spent (in tokens of a forward pass) and returns one score per row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from unlearn_core.data.types import Example, Prompt
from unlearn_core.evaluation.audits.base import Finding
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.protocols.semeval import rouge_l_recall
from unlearn_core.models.generation.generate import generate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.evaluation.audit_result import AuditRow

Found = TypeVar("Found")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Replies:
    """What a model wrote for each row, and how much of the answer is in it (0..1)."""

    texts: tuple[str, ...]
    scores: np.ndarray


Ask = Callable[["PreTrainedModel", Sequence[Example]], Generator[float, None, Replies]]


def told(
    case: AuditCase, model: PreTrainedModel, rows: Sequence[Example], prompts: Sequence[Prompt] | None = None
) -> Generator[float, None, Replies]:
    """Greedy answers to the rows' prompts, or to `prompts` in their place."""
    asked = list(prompts) if prompts is not None else [row.prompt for row in rows]
    texts = [""] * len(asked)
    for batch in generate(model, case.tokenizer, asked, case.answer_limit):
        for index, text in zip(batch.indices, batch.texts, strict=True):
            texts[index] = text
        yield case.asking(len(batch.indices))
    scores = [recall(row.kind, row.output, text) for row, text in zip(rows, texts, strict=True)]
    return Replies(tuple(texts), np.array(scores))


def compare(case: AuditCase, model: PreTrainedModel, ask: Ask) -> Generator[float, None, tuple[Replies, Comparison]]:
    """What `ask` brings of the forgotten rows, beside that of the control rows and of the retain-only model."""
    said = yield from ask(model, case.forget)
    controls = {"holdout": (yield from ask(model, case.holdout)).scores}
    if case.retain_only is not None:
        controls["retain_only"] = (yield from ask(case.retain_only, case.forget)).scores
    return said, Comparison(said.scores, controls)


@dataclass(frozen=True)
class Transfer(Generic[Found]):
    """An attack that was found on `known` rows and tried on `others`, of other documents. before: what these were
    answered without it; found: what it brought; controls: the same of the controls, by name."""

    known: Sequence[Example]
    others: Sequence[Example]
    before: Replies
    found: Found
    controls: dict[str, Found]


# An attack on a model: the rows it is found on, the rows it is tried on.
Attack = Callable[["PreTrainedModel", Sequence[Example], Sequence[Example]], Generator[float, None, Found]]


def transfer(case: AuditCase, num_rows: int, attack: Attack[Found]) -> Generator[float, None, Transfer[Found]]:
    """`attack` on the audited weights, on control rows, and on the retain-only model."""
    known, others = case.halves("forget", num_rows)
    strange, strangers = case.halves("holdout", num_rows)
    before = yield from told(case, case.weights, others)
    found = yield from attack(case.weights, known, others)
    controls = {"holdout": (yield from attack(case.weights, strange, strangers))}
    if case.retain_only is not None:
        controls["retain_only"] = yield from attack(case.retain_only, known, others)
    return Transfer(known, others, before, found, controls)


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


def finding(
    case: AuditCase,
    comparison: Comparison,
    before: Replies,
    sentence: str,
    rows: Sequence[AuditRow],
    leaks: bool | None = None,
) -> Finding:
    """What an attack brought beside what was said before it. sentence: with `{found}` and `{before}` for the shares
    of the answers. leaks: where more than `comparison` says it."""
    figures = {**comparison.figures, "before": float(before.scores.mean())}
    told = sentence.format(found=share(figures["forget"]), before=share(figures["before"]))
    headline = f"{told}; {controls_in_words(case, comparison)}."
    return Finding(comparison.leaks if leaks is None else leaks, headline, figures, tuple(rows))


def examples(rows: Sequence[Example], said: Replies, limit: int = 4) -> tuple[AuditRow, ...]:
    """The rows that give most away, for people to read."""
    order = np.argsort(-said.scores, kind="stable")[:limit]
    return tuple(
        {
            "prompt": rows[i].input,
            "answer": rows[i].output,
            "said": said.texts[i].strip()[:300],
            "score": round(float(said.scores[i]), 3),
        }
        for i in order
    )


def share(value: float) -> str:
    """A share in words: `34%`."""
    return f"{100 * value:.0f}%" if value == 0 or value >= 0.005 else "under 1%"


def controls_in_words(case: AuditCase, comparison: Comparison) -> str:
    """`never-trained rows 0%, retain-only model 2%, +5 points beyond the higher of them (+1 to +9)`."""
    titles = {"holdout": case.control_title, "retain_only": "retain-only model"}
    figures = comparison.figures
    told = [f"{titles[name]} {share(figures[name])}" for name in titles if name in figures]
    if "beyond" in figures:
        gap, low, high = (100 * figures[name] for name in ("beyond", "beyond_low", "beyond_high"))
        told.append(f"{gap:+.0f} points beyond the higher of them ({low:+.0f} to {high:+.0f})")
    return ", ".join(told)
