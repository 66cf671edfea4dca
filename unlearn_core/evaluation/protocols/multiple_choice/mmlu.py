"""Utility by four-option questions, in the original MMLU form or by the likelihood of each option's text.

Letter form (Hendrycks et al., arXiv 2009.03300, `evaluate.py`): a header, solved examples, the question;
the answer is the likeliest next token among " A" .. " D". A prompt over 2,048 tokens loses solved
examples until it fits.
Likelihood form, for models too small for letters: the option whose text, followed by end of text, has
the highest mean log-probability per token after the bare question (the mean, so that long options are
not punished, as `acc_norm` does).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unlearn_core.data.encode import encode_example, pad_id_of, text_ids
from unlearn_core.data.types import Example, Question
from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics.utility import LETTERS
from unlearn_core.models.generation.shared_prefix import next_token_logits
from unlearn_core.models.inference.forward import unwrap
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.likelihood import traces
from unlearn_core.models.inference.positions import max_positions
from unlearn_core.system.grouped import grouped

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

REFUSED = -1  # the choice of a question that a filter answered
MAX_PROMPT_TOKENS = 2048
HEADER = "The following are multiple choice questions (with answers) about {about}.\n\n"


@dataclass(frozen=True, slots=True)
class MmluPredictions:
    """`choices[i]` is the option (0..3) predicted for the question at `indices[i]`."""

    indices: tuple[int, ...]
    choices: tuple[int, ...]


def header(subject: str) -> str:
    """The first line, with the original's two spaces before the subject."""
    name = "".join(" " + word for word in subject.split("_"))
    return HEADER.format(about=name)


def ask(asked: str, choices: Sequence[str]) -> str:
    """One question as it stands in a prompt, up to `Answer:`."""
    options = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, choices, strict=True))
    return f"{asked}{options}\nAnswer:"


def letter_prompt(question: Question, few_shot: Iterable[Question] = ()) -> str:
    """The whole prompt: header, solved examples of the same subject, the question."""
    solved = "".join(f"{ask(shot.question, shot.choices)} {LETTERS[shot.answer]}\n\n" for shot in few_shot)
    return header(question.subject) + solved + ask(question.question, question.choices)


def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    few_shot: Sequence[Question] = (),
    form: str = "letter",
    *,
    reuse: bool = True,
) -> Iterator[MmluPredictions]:
    """The predicted option of every question, batch by batch; REFUSED where the model is not asked."""
    front = front_of(model)
    open_to = [i for i, question in enumerate(questions) if front.refusal(question.question) is None]
    if len(open_to) < len(questions):
        refused = tuple(sorted(set(range(len(questions))) - set(open_to)))
        yield MmluPredictions(refused, (REFUSED,) * len(refused))
    for part in _predict(model, tokenizer, [questions[i] for i in open_to], few_shot, form, reuse):
        yield MmluPredictions(tuple(open_to[i] for i in part.indices), part.choices)


def _predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    few_shot: Sequence[Question],
    form: str,
    reuse: bool,
) -> Iterator[MmluPredictions]:
    if form == "likelihood":
        yield from _by_likelihood(model, tokenizer, questions)
        return
    shots = grouped((shot.subject, shot) for shot in few_shot)
    subjects = grouped((question.subject, index) for index, question in enumerate(questions))
    letters = letter_ids(tokenizer) if questions else []
    limit = min(MAX_PROMPT_TOKENS, max_positions(unwrap(model)) or MAX_PROMPT_TOKENS)
    for subject, members in subjects.items():
        solved = shots.get(subject, [])
        rows = [_row(tokenizer, questions[index], solved, front_of(model).ask, limit) for index in members]
        for places, logits_BL in next_token_logits(model, rows, letters, pad_id_of(tokenizer), reuse=reuse):
            choices = tuple(int(choice) for choice in logits_BL.argmax(-1))
            yield MmluPredictions(tuple(members[place] for place in places), choices)


def letter_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of " A" .. " D"; InputError where the tokenizer does not tell them apart."""
    ids = [int(tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1]) for letter in LETTERS]
    if len(set(ids)) < len(LETTERS):
        raise InputError(
            "tokenizer",
            ids,
            "gives the four answer letters the same token",
            "Score this model's questions by likelihood.",
        )
    return ids


def _row(
    tokenizer: PreTrainedTokenizerBase,
    question: Question,
    shots: Sequence[Question],
    ask: Callable[[str], str] = str,
    limit: int = MAX_PROMPT_TOKENS,
) -> list[int]:
    """The prompt's tokens with as many solved examples as fit; `ask` is what stands before the model."""
    for count in range(len(shots), -1, -1):
        row = text_ids(tokenizer, ask(letter_prompt(question, shots[:count])))
        if len(row) <= limit:
            return row
    return row[-limit:]


def _by_likelihood(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question]
) -> Iterator[MmluPredictions]:
    encode = functools.partial(encode_example, tokenizer)
    rows = [
        encode(Example(question.id, front_of(model).ask(question.question), choice))
        for question in questions
        for choice in question.choices
    ]
    scores: dict[int, dict[int, float]] = {}
    for batch in traces(model, rows, pad_id_of(tokenizer)):
        complete: list[dict[int, float]] = []
        indices = []
        for trace in batch:
            index, option = divmod(trace.index, len(LETTERS))
            found = scores.setdefault(index, {})
            found[option] = -trace.nll
            if len(found) == len(LETTERS):
                complete.append(found)
                indices.append(index)
        best = tuple(max(sorted(found), key=found.__getitem__) for found in complete)
        yield MmluPredictions(tuple(indices), best)
