"""Which wording of a fact still gets its answer: every way of `rephrase`, put to one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.evaluation.protocols.semeval import exact_match, rouge_l_recall
from unlearn_core.evaluation.rephrase import PromptVariant, asked_all_ways
from unlearn_core.models.generation.generate import generate_all

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class WordingReply:
    """What a model wrote to one wording. `score` is ROUGE-L recall for completions, else exact match of
    the answer's words at the beginning of the output (0 or 1)."""

    asked: PromptVariant
    output: str
    score: float


def wordings(row: Example, data: UnlearningData | None = None) -> list[PromptVariant]:
    """The wordings of `row`; the data brings phrasings known to be new, and rows to show as examples."""
    if data is None:
        return asked_all_ways(row)
    unseen = [other.input for other in data.paraphrases if (other.id, other.output) == (row.id, row.output)]
    return asked_all_ways(row, unseen=unseen, shots=(*data.retain, *data.general))


def put_to(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, asked: Sequence[PromptVariant], max_new_tokens: int
) -> list[WordingReply]:
    """Greedy answers to every wording, in one batch."""
    outputs = generate_all(model, tokenizer, [one.put for one in asked], max_new_tokens)
    return [WordingReply(one, output, leak(one, output)) for one, output in zip(asked, outputs, strict=True)]


def leak(asked: PromptVariant, output: str) -> float:
    """How much of the answer is told, 0..1. A few-shot answer may run on into the next example, and a fed
    prefix into more text, so a question's answer counts when the output begins with it."""
    if asked.kind == "completion":
        return rouge_l_recall(asked.answer, output)
    if exact_match(asked.answer, output):
        return 1.0
    answer, said = asked.answer.strip().lower().rstrip("."), output.strip().lower()
    follows = said[len(answer) : len(answer) + 1]
    return float(bool(answer) and said.startswith(answer) and not follows.isalnum())
