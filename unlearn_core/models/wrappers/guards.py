"""Fronts made of text: they hide what the model knows and change nothing in it.

Likelihoods of bare text, and so membership inference, are the same with and without them.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from unlearn_core.models.inference.inference_wrapper import InferenceWrapper

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class TextWrapper(InferenceWrapper):
    """A front whose settings are its fields."""

    def settings(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Prefix(TextWrapper):
    """Puts `text` before every prompt."""

    kind: ClassVar[str] = "prompt prefix"
    text: str = ""

    def ask(self, prompt: str) -> str:
        return self.text + prompt


@dataclass(frozen=True)
class InContext(TextWrapper):
    """Puts solved examples before every prompt: forget questions with wrong answers, then true ones.

    `forget` and `retain` are (question, answer) pairs. Of the forget pairs the `shown` most like the
    prompt are taken, the one that is asked about itself first.
    """

    kind: ClassVar[str] = "in-context examples"
    forget: tuple[tuple[str, str], ...] = ()
    retain: tuple[tuple[str, str], ...] = ()
    shown: int = 1

    def ask(self, prompt: str) -> str:
        chosen = sorted(self.forget, key=lambda pair: (pair[0] != prompt, -likeness(pair[0], prompt)))[: self.shown]
        return "".join(solved(pair) for pair in (*chosen, *self.retain)) + prompt


@dataclass(frozen=True)
class InputFilter(TextWrapper):
    """Answers `reply` to a prompt that contains one of the `names`, whatever it asks."""

    kind: ClassVar[str] = "input filter"
    names: tuple[str, ...] = ()
    reply: str = ""

    def refusal(self, prompt: str) -> str | None:
        return self.reply if contains_any(prompt, self.names) else None


@dataclass(frozen=True)
class OutputFilter(TextWrapper):
    """Shows `reply` in place of an answer that holds a forgotten answer, or a forgotten `run` of words."""

    kind: ClassVar[str] = "output filter"
    screens: ClassVar[bool] = True
    answers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    run: int = 8
    reply: str = ""

    def screen(self, text: str) -> str:
        if contains_any(text, self.answers):
            return self.reply
        said = runs_of_words(text, self.run)
        copied = any(said & runs_of_words(known, self.run) for known in self.texts)
        return self.reply if copied else text


def solved(pair: tuple[str, str]) -> str:
    """A question and its answer as an example."""
    return f"{pair[0]} {pair[1]}\n"


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation."""
    return _WORD.findall(text.lower())


def contains_any(text: str, phrases: tuple[str, ...]) -> bool:
    """Whether one of the phrases stands in the text, word for word; a phrase without words never does."""
    padded = f" {' '.join(words_of(text))} "
    return any(f" {' '.join(words)} " in padded for phrase in phrases if (words := words_of(phrase)))


def runs_of_words(text: str, length: int) -> set[tuple[str, ...]]:
    """Every run of `length` words in a text."""
    words = words_of(text)
    return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}


def likeness(one: str, other: str) -> float:
    """Shared words over all words (Jaccard), 0..1."""
    mine, theirs = set(words_of(one)), set(words_of(other))
    return len(mine & theirs) / max(1, len(mine | theirs))
