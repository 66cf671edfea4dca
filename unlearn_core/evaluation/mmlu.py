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
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn_core.data.encode import encode_example, pad_id_of, prompt_ids
from unlearn_core.data.types import Example, Question
from unlearn_core.errors import InputError
from unlearn_core.evaluation.membership import wilson_interval
from unlearn_core.evaluation.mmlu_files import load_mmlu
from unlearn_core.evaluation.mmlu_subjects import grouped_accuracy
from unlearn_core.models.front import front_of
from unlearn_core.models.likelihood import traces
from unlearn_core.models.shared_prefix import next_token_logits

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Answered", "letter_prompt", "load_mmlu", "predict", "summary"]
LETTERS = "ABCD"
CHANCE = 0.25
REFUSED = -1  # the choice of a question that a filter answered
MAX_PROMPT_TOKENS = 2048


@dataclass(frozen=True, slots=True)
class Answered:
    """`choices[i]` is the option (0..3) predicted for the question at `indices[i]`."""

    indices: tuple[int, ...]
    choices: tuple[int, ...]


def header(subject: str) -> str:
    """The first line, with the original's two spaces before the subject."""
    name = "".join(" " + word for word in subject.split("_"))
    return f"The following are multiple choice questions (with answers) about {name}.\n\n"


def ask(question: Question) -> str:
    """One question as it stands in a prompt, up to `Answer:`."""
    options = "".join(f"\n{letter}. {text}" for letter, text in zip(LETTERS, question.choices, strict=True))
    return f"{question.question}{options}\nAnswer:"


def letter_prompt(question: Question, few_shot: Iterable[Question] = ()) -> str:
    """The whole prompt: header, solved examples of the same subject, the question."""
    solved = "".join(f"{ask(shot)} {LETTERS[shot.answer]}\n\n" for shot in few_shot)
    return header(question.subject) + solved + ask(question)


def predict(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    few_shot: Sequence[Question] = (),
    form: str = "letter",
    *,
    reuse: bool = True,
) -> Iterator[Answered]:
    """The predicted option of every question, batch by batch; REFUSED where the model is not asked."""
    front = front_of(model)
    open_to = [i for i, question in enumerate(questions) if front.refusal(question.question) is None]
    if len(open_to) < len(questions):
        refused = tuple(sorted(set(range(len(questions))) - set(open_to)))
        yield Answered(refused, (REFUSED,) * len(refused))
    for part in _predict(model, tokenizer, [questions[i] for i in open_to], few_shot, form, reuse):
        yield Answered(tuple(open_to[i] for i in part.indices), part.choices)


def _predict(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, questions: Sequence[Question],
    few_shot: Sequence[Question], form: str, reuse: bool,
) -> Iterator[Answered]:  # fmt: skip
    if form == "likelihood":
        yield from _by_likelihood(model, tokenizer, questions)
        return
    shots: dict[str, list[Question]] = {}
    for shot in few_shot:
        shots.setdefault(shot.subject, []).append(shot)
    subjects: dict[str, list[int]] = {}
    for index, question in enumerate(questions):
        subjects.setdefault(question.subject, []).append(index)
    letters = letter_ids(tokenizer)
    for subject, members in subjects.items():
        solved = shots.get(subject, [])
        rows = [_row(tokenizer, questions[index], solved, front_of(model).ask) for index in members]
        for places, logits_BL in next_token_logits(model, rows, letters, pad_id_of(tokenizer), reuse=reuse):
            choices = tuple(int(choice) for choice in logits_BL.argmax(-1))
            yield Answered(tuple(members[place] for place in places), choices)


def letter_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of " A" .. " D"; InputError where the tokenizer does not tell them apart."""
    ids = [int(tokenizer(f" {letter}", add_special_tokens=False)["input_ids"][-1]) for letter in LETTERS]
    if len(set(ids)) < len(LETTERS):
        raise InputError(
            "tokenizer", ids, "gives the four answer letters the same token",
            "Score this model's questions by likelihood.",
        )  # fmt: skip
    return ids


def summary(questions: Sequence[Question], choices: Sequence[int], form: str = "letter") -> dict[str, Any]:
    """Accuracy (micro average), per subject, the answers' histogram, intervals, and whether it says anything.

    `one_letter` is what always giving the most frequent right letter scores. `signal` is False where the
    95 % interval of the accuracy reaches down to chance, or, for letters, to that.
    """
    right = [question.answer == choice for question, choice in zip(questions, choices, strict=True)]
    by_subject: dict[str, list[bool]] = {}
    for question, hit in zip(questions, right, strict=True):
        by_subject.setdefault(question.subject, []).append(hit)
    interval = wilson_interval(sum(right), len(right))
    counts = Counter(choices)
    keys = Counter(question.answer for question in questions)
    one_letter = max(keys.values()) / len(right) if form == "letter" and right else CHANCE
    return {
        "accuracy": sum(right) / len(right) if right else None,
        "num_questions": len(right),
        "form": form,
        "interval": interval,
        "chance": CHANCE,
        "chance_interval": wilson_interval(round(CHANCE * len(right)), len(right)),
        "one_letter": one_letter,
        "signal": interval is not None and interval[0] > max(CHANCE, one_letter),
        "letters": {letter: counts.get(i, 0) for i, letter in enumerate(LETTERS)},
        "answer_key": {letter: keys.get(i, 0) for i, letter in enumerate(LETTERS)},
        "metrics": grouped_accuracy(zip((q.subject for q in questions), right, strict=True)),
        "by_subject": {subject: sum(hits) / len(hits) for subject, hits in sorted(by_subject.items())},
    }


def _row(
    tokenizer: Any, question: Question, shots: Sequence[Question], ask: Callable[[str], str] = str
) -> list[int]:
    """The prompt's tokens with as many solved examples as fit; `ask` is what stands before the model."""
    for count in range(len(shots), -1, -1):
        row = prompt_ids(tokenizer, ask(letter_prompt(question, shots[:count])))
        if len(row) <= MAX_PROMPT_TOKENS:
            return row
    return row[-MAX_PROMPT_TOKENS:]


def _by_likelihood(model: Any, tokenizer: Any, questions: Sequence[Question]) -> Iterator[Answered]:
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
        yield Answered(tuple(indices), best)
