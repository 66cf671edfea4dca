"""Find out what a pretrained model knows about a subject, and make the sheet of prompts to forget it by.

    base prompts      listed ones, or templates filled in by the model itself; kept where it answers
    wordings          each in several phrasings, some trained and some never, one by another name of the subject
    multi-hop         listed prompts that name it by way of something else, kept where the model names it
    passages          what the model writes about the subject, up to where its name comes again
    detours           trained prompts and a next word that is not the answer, after which the answer comes all the same
    neighbours        listed subjects of the same kind that it knows, half of them never trained
    general           texts of its own: about nothing in particular, and what it says where the prompts about
                      the subject name somebody else

A prompt counts as known where the greedy continuation names its answer within a few words. The prompt is then
continued up to that answer, so that the answer's probability is that of saying it next.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import prompt_ids
from unlearn_core.data.jaccard import jaccard
from unlearn_core.data.subject_sheet import MADE_UP, SheetPrompt, SubjectSheet, named_in, without_answers
from unlearn_core.data.types import Example, Prompt
from unlearn_core.errors import InputError
from unlearn_core.evaluation.metrics.answer_probability import answer_log_probabilities
from unlearn_core.evaluation.metrics.contained import contains
from unlearn_core.evaluation.progress import Progress
from unlearn_core.knowledge import wordings as words
from unlearn_core.knowledge.listed import ListedSubject, listed_subject, listed_subjects
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.inference.forward import device_of, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


ANSWERED_WITHIN = 8  # tokens of the greedy continuation in which the answer must come
SURE = 0.1  # least probability of an answer that the model itself gave about an unlisted subject
TIMES_AS_SURE = 3.0  # as with a made-up name in its place, or the answer is no knowledge of the subject
PASSAGE_TOKENS = 48
NUM_PASSAGES = 24  # rows made of passages
LIKELY = 0.02  # least probability of the name where a passage or a detour comes to it
NUM_WORDS = 20  # by which a trained prompt may go on
LEAST_LEFT = 0.01  # share of such a word in what is said where the answer is not
NUM_DETOURS = 16  # rows made of them
NUM_ALIKE = 48  # of the subject's own prompts about others
NUM_CANDIDATES = 160  # prompts about neighbours that are tried
NUM_NEIGHBOURS = 36  # kept of each half


@dataclass(frozen=True)
class _Model:
    """A model with its tokenizer, asked in batches."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    def known(self, prompts: Sequence[SheetPrompt]) -> list[SheetPrompt]:
        """Those to which the model gives the answer, measured."""
        return self.with_probabilities(self.told(prompts))

    def told(self, prompts: Sequence[SheetPrompt]) -> list[SheetPrompt]:
        """Those to which the model gives the answer, with what it says."""
        said = generate_all(self.model, self.tokenizer, [prompt.text for prompt in prompts], ANSWERED_WITHIN)
        answered = [_up_to_answer(prompt, text) for prompt, text in zip(prompts, said, strict=True)]
        return [row for row in answered if contains(row.before, row.answer, row.aliases)]

    def with_probabilities(self, prompts: Sequence[SheetPrompt]) -> list[SheetPrompt]:
        """The same prompts with how probable the answer is."""
        rows = [Example(str(n), prompt.text, prompt.answer) for n, prompt in enumerate(prompts)]
        log_p = answer_log_probabilities(self.model, self.tokenizer, rows)
        return [replace(prompt, probability=_exp(value)) for prompt, value in zip(prompts, log_p, strict=True)]

    def written(self, prompts: Sequence[str], num_tokens: int, seed: int) -> list[str]:
        """Texts drawn at temperature 0.9."""
        return generate_all(self.model, self.tokenizer, prompts, num_tokens, temperature=0.9, seed=seed)


def find(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, seed: int = 0
) -> Generator[Progress, None, SubjectSheet]:
    """Yield Progress; the generator's return value is the sheet, in which nothing is known that was not
    measured. InputError for a name that is none."""
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise InputError("subject", name[:80], "is not a name", "Write who or what is to be forgotten.")
    asked, rng = _Model(model, tokenizer), random.Random(f"{seed}/{name}")
    yield Progress("what it knows", 0, 4)
    subject = listed_subject(name) or ListedSubject(name.strip(), "person", "", (), ())
    base = _surest_first(asked.known(_base(subject))) if subject.prompts else _own(asked, subject)
    base = _of_the_subject(asked, subject, base)
    yield Progress("what it writes about it", 1, 4)
    passages = _passages(asked, subject, seed)
    yield Progress("what it knows about others", 2, 4)
    neighbours = _neighbours(asked, subject, rng)
    yield Progress("how it writes", 3, 4)
    worded = _worded(tokenizer, subject, base)
    general = (*_general(asked, subject, seed), *_alike(asked, subject, worded, neighbours, rng))
    hops = asked.known([_prompt(subject, text, "", "multi-hop") for text in subject.multi_hop])
    yield Progress("done", 4, 4)
    prompts = (*worded, *_detours(asked, worded), *passages, *hops)
    return SubjectSheet(subject.name, subject.kind, subject.aliases, prompts, neighbours, general)


def _base(subject: ListedSubject) -> list[SheetPrompt]:
    return [_prompt(subject, text, answer) for text, answer in subject.prompts]


def _prompt(subject: ListedSubject, text: str, answer: str, split: str = "trained") -> SheetPrompt:
    """`answer` "" stands for the subject's own name, whose other names are forgotten alike; but for those that the
    prompt itself says, of a relative ("Pierre Curie and"), which show no knowledge when they are said again."""
    own = [name for name in subject.names if name not in text]
    names = (answer,) if answer else own or subject.names
    return SheetPrompt(text, names[0], split, subject.name, tuple(names[1:]))  # type: ignore[arg-type]


def _up_to_answer(prompt: SheetPrompt, said: str) -> SheetPrompt:
    """The prompt continued to just before the first of its answers in `said`, which becomes its answer."""
    found = [(said.find(name), -len(name), name) for name in (prompt.answer, *prompt.aliases) if name in said]
    if not found or min(found)[0] < 0:
        return replace(prompt, before=said)
    at, _, name = min(found)
    text, others = f"{prompt.text}{said[:at].rstrip()}", _without((prompt.answer, *prompt.aliases), name)
    return replace(prompt, text=text, answer=name, aliases=others, before=said[at:].strip() or name)


def _without(names: Iterable[str], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def _surest_first(prompts: Iterable[SheetPrompt]) -> list[SheetPrompt]:
    return sorted(prompts, key=lambda prompt: -prompt.probability)


def _own(asked: _Model, subject: ListedSubject) -> list[SheetPrompt]:
    """What the model says of an unlisted subject, where it is sure of it."""
    texts = [form.format(name=subject.name) for form in words.ABOUT]
    said = generate_all(asked.model, asked.tokenizer, texts, ANSWERED_WITHIN)
    prompts = []
    for text, answer in zip(texts, said, strict=True):
        first = " ".join(answer.replace("\n", " ").split(" ")[:3]).strip(" .,;:")
        if first and subject.name not in first:
            prompts.append(SheetPrompt(text, first, "trained", subject.name))
    return [prompt for prompt in _surest_first(asked.known(prompts)) if prompt.probability >= SURE]


def _of_the_subject(asked: _Model, subject: ListedSubject, prompts: Sequence[SheetPrompt]) -> list[SheetPrompt]:
    """Those whose answer is not what is said of anybody: a made-up name in the subject's place makes it far less
    probable. A prompt that asks for the name has nothing to put in its place, and stays, though a part of the name may
    be in it: what comes after "Pierre Curie and"."""
    named = {
        n: called
        for n, prompt in enumerate(prompts)
        if prompt.answer not in subject.names and (called := named_in(prompt.text, subject.names))
    }
    others = [
        Example(str(n), prompts[n].text.replace(called, made_up), prompts[n].answer)
        for n, called in named.items()
        for made_up in MADE_UP[subject.kind]
    ]
    highest: dict[int, float] = {}
    for row, value in zip(others, answer_log_probabilities(asked.model, asked.tokenizer, others), strict=True):
        highest[int(row.id)] = max(highest.get(int(row.id), 0.0), _exp(value))
    return [p for n, p in enumerate(prompts) if p.probability >= TIMES_AS_SURE * highest.get(n, 0.0)]


def _worded(
    tokenizer: PreTrainedTokenizerBase, subject: ListedSubject, base: Sequence[SheetPrompt]
) -> list[SheetPrompt]:
    """Half of the base prompts in the trained wordings, and by another name; those in the other wordings, and the
    rest, never trained."""
    trained, unseen = words.wordings(tokenizer)
    ours, others = _halves(base)
    found = [_put(prompt, form, "trained") for prompt in ours for form in trained]
    found += [
        replace(prompt, text=prompt.text.replace(called, subject.aliases[0]), before="", probability=0.0)
        for prompt in ours
        if subject.aliases and (called := named_in(prompt.text, subject.names)) not in ("", subject.aliases[0])
    ]
    found += [_put(prompt, form, "never trained") for prompt in ours for form in unseen]
    return found + [_put(prompt, form, "never trained") for prompt in others for form in (trained[0], *unseen)]


def _halves(base: Sequence[SheetPrompt]) -> tuple[list[SheetPrompt], list[SheetPrompt]]:
    """At least half of the prompts, the surest to each answer first (what is never asked to go cannot be expected to)
    and then whichever shares fewest words with those taken; and the rest."""
    answers = [frozenset((prompt.answer, *prompt.aliases)) for prompt in base]
    ours = [prompt for n, prompt in enumerate(base) if answers[n] not in answers[:n]]
    others = [prompt for n, prompt in enumerate(base) if answers[n] in answers[:n]]
    while len(ours) < len(others):
        least = min(others, key=lambda prompt: max(_likeness(prompt, taken) for taken in ours))
        others.remove(least)
        ours.append(least)
    return ours, others


def _likeness(one: SheetPrompt, other: SheetPrompt) -> float:
    """Share of the words of either that both have, 0..1."""
    return jaccard(*(set(f"{prompt.text} {prompt.answer}".casefold().split()) for prompt in (one, other)))


def _put(prompt: SheetPrompt, form: words.Wording, split: str) -> SheetPrompt:
    text = form(prompt.text)
    if text == prompt.text:
        return replace(prompt, split=split)  # type: ignore[arg-type]
    return replace(prompt, text=text, split=split, before="", probability=0.0)  # type: ignore[arg-type]


def _passages(asked: _Model, subject: ListedSubject, seed: int) -> list[SheetPrompt]:
    """What the model writes about the subject, up to each place where it names it again."""
    called = (subject.name, subject.aliases[0]) if subject.aliases else (subject.name,)
    prompts = [words.chat(asked.tokenizer, form.format(name=name)) for form in words.WRITE for name in called]
    prompts += [form.format(name=name) for form in words.BEGUN for name in called]
    texts = asked.written(prompts, PASSAGE_TOKENS, seed)
    found = []
    for prompt, text in zip(prompts, texts, strict=True):
        for at, name in _places(text, subject.names):
            begun = (prompt + text[:at]).rstrip()
            found.append(SheetPrompt(begun, name, "trained", subject.name, _without(subject.names, name)))
    found = found[:NUM_PASSAGES]
    measured = asked.with_probabilities(found)
    return [prompt for prompt, told in zip(found, measured, strict=True) if told.probability >= LIKELY]


def _detours(asked: _Model, prompts: Sequence[SheetPrompt]) -> list[SheetPrompt]:
    """Trained prompts with a next word that is not the answer ("is not", then "Tokyo"), where the answer comes after
    it, the likeliest first: once the answer cannot be given at once, these ways to it are left. A word comes once
    for each answer, in the prompt where it is likeliest."""
    likeliest: dict[tuple[str, frozenset[str]], tuple[float, SheetPrompt]] = {}
    for prompt in prompts:
        names = frozenset((prompt.answer, *prompt.aliases))
        said = next_tokens(asked.model, asked.tokenizer, prompt.text, NUM_WORDS) if prompt.split == "trained" else []
        left = 1.0 - sum(p for word, p in said if _begins(word, names))
        for word, p in said:
            if p >= LEAST_LEFT * left and _is_word(word) and not _begins(word, names):
                way = p / left, replace(prompt, text=prompt.text + word, before="")
                likeliest[word, names] = max(way, likeliest.get((word, names), way), key=lambda way: way[0])
    rows = [
        (share, replace(prompt, answer=name, aliases=_without(sorted(names), name)))
        for (_, names), (share, prompt) in likeliest.items()
        for name in sorted(names)
    ]
    measured = asked.with_probabilities([row for _, row in rows])
    ways = [(share * row.probability, row) for (share, _), row in zip(rows, measured, strict=True)]
    found: dict[str, SheetPrompt] = {}
    for _, row in sorted(ways, key=lambda way: -way[0]):
        if row.probability >= LIKELY:
            found.setdefault(row.text, row)
    return list(found.values())[:NUM_DETOURS]


def _is_word(token: str) -> bool:
    """Whether a token is a whole word or its head, or what stands between words."""
    return bool(token.strip()) and not token[0].isalnum() and "\N{REPLACEMENT CHARACTER}" not in token


def _begins(word: str, names: Iterable[str]) -> bool:
    return bool(word.strip()) and any(name.startswith(word.strip()) for name in names)


def _places(text: str, names: Sequence[str]) -> list[tuple[int, str]]:
    """Where a name begins in `text`, the longest of those that begin there."""
    found: dict[int, str] = {}
    taken = 0
    for at in range(1, len(text)):
        longest = max((name for name in names if text.startswith(name, at)), key=len, default="")
        if longest and at >= taken and text[at - 1] == " ":
            found[at] = longest
            taken = at + len(longest)
    return list(found.items())


def _neighbours(asked: _Model, subject: ListedSubject, rng: random.Random) -> tuple[SheetPrompt, ...]:
    """What it knows about others of the same kind, those of the same field first; by subject in two halves."""
    others = [entry for entry in listed_subjects() if entry.name != subject.name and entry.kind == subject.kind]
    rng.shuffle(others)
    others.sort(key=lambda entry: entry.field != subject.field)
    candidates = without_answers([row for entry in others for row in _base(entry)], subject.names)
    known = without_answers(asked.told(candidates[:NUM_CANDIDATES]), subject.names)
    names = list(dict.fromkeys(row.subject for row in known))
    halves = {name: "trained" if place % 2 == 0 else "never trained" for place, name in enumerate(names)}
    told = [replace(row, split=halves[row.subject]) for row in known]  # type: ignore[arg-type]
    kept = [
        row
        for split in ("trained", "never trained")
        for row in [row for row in told if row.split == split][:NUM_NEIGHBOURS]
    ]
    return tuple(asked.with_probabilities(kept))


def _general(asked: _Model, subject: ListedSubject, seed: int) -> tuple[tuple[str, str], ...]:
    """Texts of the model's own, with what they were begun by; none that names the subject."""
    prompts = [words.chat(asked.tokenizer, question) for question in words.GENERAL] + list(words.GENERAL_BEGUN)
    texts = asked.written(prompts, PASSAGE_TOKENS, seed + 1)
    pairs = zip(prompts, (text.strip() for text in texts), strict=True)
    return tuple((begun, text) for begun, text in pairs if text and not any(n in text for n in subject.names))


def _alike(
    asked: _Model,
    subject: ListedSubject,
    prompts: Sequence[SheetPrompt],
    neighbours: Sequence[SheetPrompt],
    rng: random.Random,
) -> tuple[tuple[str, str], ...]:
    """The trained prompts that name the subject, and what it is asked to write of it, with others of its kind in
    its place, and what the model says: that the same words about others bring what they did. No neighbour whose
    prompts are never trained is among them."""
    unseen = {row.subject for row in neighbours if row.split == "never trained"}
    names = [entry.name for entry in listed_subjects() if entry.kind == subject.kind]
    names = [name for name in names if name != subject.name and name not in unseen]
    rng.shuffle(names)
    told = [prompt.text for prompt in prompts if prompt.split == "trained" and prompt.answer not in subject.names]
    told += [words.chat(asked.tokenizer, form.format(name=subject.name)) for form in words.WRITE]
    named = [(text, called) for text in told if (called := named_in(text, subject.names))]
    each = min(len(names), -(-NUM_ALIKE // len(named)))
    texts = [text.replace(called, name) for text, called in named for name in rng.sample(names, each)]
    said = generate_all(asked.model, asked.tokenizer, texts[:NUM_ALIKE], ANSWERED_WITHIN)
    pairs = zip(texts, (text.strip() for text in said), strict=False)
    return tuple((begun, text) for begun, text in pairs if text and not named_in(f"{begun} {text}", subject.names))


def _exp(log_probability: float) -> float:
    return round(math.exp(log_probability), 4) if log_probability == log_probability else 0.0


@torch.inference_mode()
def next_tokens(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: str, count: int
) -> list[tuple[str, float]]:
    """The `count` likeliest tokens after the prompt, as text with the space before it, and their probabilities."""
    inner = unwrap(model)
    ids_1T = torch.tensor([prompt_ids(tokenizer, Prompt(prompt))], device=device_of(model))
    logits_V = inner(input_ids=ids_1T, use_cache=False, logits_to_keep=1).logits[0, -1]
    top = logits_V.float().softmax(-1).topk(count)
    return [
        (str(tokenizer.decode([token])), p) for token, p in zip(top.indices.tolist(), top.values.tolist(), strict=True)
    ]
