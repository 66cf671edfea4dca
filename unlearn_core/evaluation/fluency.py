"""Is it still language? Repetition and unknown words, measured on generated text without a second model.

ROUGE recall gives gibberish 0, so a wrecked model looks as if it had forgotten; these figures stand
beside it. What is not covered: fluent nonsense made of known words.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+")
_MIN_UNITS = 8  # shorter texts cannot be told to repeat themselves
_MAX_REPEATED = 0.5
_MIN_KNOWN = 0.5
_MIN_WORDS = 3


@dataclass(frozen=True, slots=True)
class Fluency:
    """Means over some texts. `repetition`: share of 3-grams seen before in the same text. `entropy`: n-gram
    entropy in bits, (2/3 H2 + 4/3 H3) / 2 (RWKU, arXiv 2406.10890). `known_words`: share of words that
    the data set uses somewhere. `degenerate`: share of texts that are empty, loop, or are mostly unknown."""

    num_texts: int
    degenerate: float
    empty: float
    repetition: float
    entropy: float
    known_words: float


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """Every word of `texts`, in lower case; names, numbers and addresses with digits are left out."""
    return frozenset(word for text in texts for word in _words(text))


def fluency(texts: Sequence[str], known: frozenset[str]) -> Fluency | None:
    """Fluency of `texts`; None without any. An empty `known` leaves unknown words out of the judgement."""
    if not texts:
        return None
    repeated = [repetition(text) for text in texts]
    shares = [known_share(text, known) for text in texts]
    empty = [not text.strip() for text in texts]
    bad = [
        gone or loop > _MAX_REPEATED or share < _MIN_KNOWN
        for gone, loop, share in zip(empty, repeated, shares, strict=True)
    ]
    count = len(texts)
    return Fluency(
        num_texts=count,
        degenerate=sum(bad) / count,
        empty=sum(empty) / count,
        repetition=sum(repeated) / count,
        entropy=sum(map(ngram_entropy, texts)) / count,
        known_words=sum(shares) / count,
    )


def repetition(text: str) -> float:
    """Share of 3-grams that occurred before, 0..1; of words, or of characters where there are few words."""
    grams = _grams(_units(text), 3)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def known_share(text: str, known: frozenset[str]) -> float:
    """Share of words that are in `known`, 0..1; 1 where there are too few words to say."""
    words = _words(text)
    if not known or len(words) < _MIN_WORDS:
        return 1.0
    return sum(word in known for word in words) / len(words)


def ngram_entropy(text: str) -> float:
    """(2/3 H2 + 4/3 H3) / 2 over words, bits: about 4 for a paragraph, 0 for one word repeated."""
    words = text.split()
    return (2 / 3 * _entropy(_grams(words, 2)) + 4 / 3 * _entropy(_grams(words, 3))) / 2


def _entropy(grams: list[tuple[str, ...]]) -> float:
    counts = Counter(grams)
    return -sum(n / len(grams) * math.log2(n / len(grams)) for n in counts.values()) if grams else 0.0


def _units(text: str) -> list[str]:
    words = text.split()
    if len(words) >= _MIN_UNITS:
        return words
    return list(text) if len(text) >= 4 * _MIN_UNITS else []


def _grams(units: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(units[i : i + size]) for i in range(len(units) - size + 1)]


def _words(text: str) -> list[str]:
    plain = (part for part in text.split() if not any(c.isdigit() or c == "@" for c in part))
    return [word.lower() for part in plain for word in _WORD.findall(part)]
