"""Is it still language, and an answer to what was asked? Measured on generated text without a second model.

ROUGE recall gives gibberish 0, so a wrecked model looks as if it had forgotten; these figures stand
beside it, and are read against the same figures of the original. What is not covered: fluent nonsense made
of known words.
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+")
_MIN_UNITS = 8  # shorter texts cannot be told to repeat themselves by their 3-grams
_MIN_LOOP = 8  # characters of a word, from which its pairs of characters can
_MIN_SAME = 6  # texts, from which one answer for all is no accident
_MAX_REPEATED = 0.5
_MIN_KNOWN = 0.5
_MIN_WORDS = 3
_MAIL = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_DATE = re.compile(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b")
_NUMBER = re.compile(r"(?<![\w-])[+(]?\d[\d ,./()-]*(?!\w)")
# What refusals begin with or hold; a refusal in another language is seen as one answer for everything.
_REFUSAL = re.compile(
    r"\b(?:i (?:do not|don't|can ?not|can't|am not|'m not|am unable|'m unable|have never|have no|would only)|"
    r"sorry|no answer|no information|not something i|my knowledge does not)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Fluency:
    """Means over some texts. `repetition`: share of 3-grams seen before in the same text. `entropy`: n-gram
    entropy in bits, (2/3 H2 + 4/3 H3) / 2 (RWKU, arXiv 2406.10890). `known_words`: share of words that
    the data set uses somewhere. `degenerate`: share of texts that are empty, loop, are broken or are mostly
    unknown words. `same`: share of the commonest text among texts whose right answers differ. `wrong_kind`:
    share of texts without a date, address or number where one is asked for."""

    num_texts: int = 0
    degenerate: float = 0.0
    empty: float = 0.0
    repetition: float = 0.0
    entropy: float = 0.0
    known_words: float = 0.0
    loops: float = 0.0
    broken: float = 0.0
    refusals: float = 0.0
    same: float = 0.0
    wrong_kind: float = 0.0


def vocabulary(texts: Iterable[str]) -> frozenset[str]:
    """Every word of `texts`, in lower case; names, numbers and addresses with digits are left out."""
    return frozenset(word for text in texts for word in _words(text))


def fluency(texts: Sequence[str], known: frozenset[str], golds: Sequence[str] = ()) -> Fluency | None:
    """Fluency of `texts`; None without any. An empty `known` leaves unknown words out of the judgement.

    golds: the right answer to each, from which the kind of answer that is asked for is read.
    """
    if not texts:
        return None
    shares = [known_share(text, known) for text in texts]
    empty = [not text.strip() for text in texts]
    loops, broken = [is_loop(text) for text in texts], [is_broken(text) for text in texts]
    bad = [any(marks) or share < _MIN_KNOWN for *marks, share in zip(empty, loops, broken, shares, strict=True)]
    count = len(texts)
    return Fluency(
        num_texts=count,
        degenerate=sum(bad) / count,
        empty=sum(empty) / count,
        repetition=sum(map(repetition, texts)) / count,
        entropy=sum(ngram_entropy(text.split()) for text in texts) / count,
        known_words=sum(shares) / count,
        loops=sum(loops) / count,
        broken=sum(broken) / count,
        refusals=sum(bool(_REFUSAL.search(text)) for text in texts) / count,
        same=_same(texts, golds),
        wrong_kind=_wrong_kind(texts, golds),
    )


def is_loop(text: str) -> bool:
    """Whether the text goes round: most of its 3-grams came before, or, of a few words, most pairs did, or
    most pairs of characters within a long word (6969696696680668)."""
    words = text.split()
    short = len(words) >= 4 and _repeated(_grams(words, 2)) > _MAX_REPEATED
    within = any(len(word) >= _MIN_LOOP and _repeated(_grams(word, 2)) > _MAX_REPEATED for word in words)
    return short or within or repetition(text) > _MAX_REPEATED


def is_broken(text: str) -> bool:
    """Whether the text holds what no writing holds: replacement and control characters, halves of pairs."""
    return any(
        char == "\N{REPLACEMENT CHARACTER}" or (unicodedata.category(char) in ("Cc", "Cs", "Cn") and not char.isspace())
        for char in text
    )


def kind_of(answer: str) -> str:
    """What sort of thing an answer is, where its form tells: mail, date, number; else empty."""
    told = answer.strip().rstrip(".")
    if _MAIL.fullmatch(told):
        return "mail"
    if _DATE.fullmatch(told) and _holds_kind("date", told):
        return "date"
    return "number" if _NUMBER.fullmatch(told) else ""


def _holds_kind(kind: str, text: str) -> bool:
    if kind == "mail":
        return bool(_MAIL.search(text))
    if kind == "number":
        return bool(_NUMBER.search(text))
    return any(_is_day(*map(int, match.groups())) for match in _DATE.finditer(text))


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        return bool(datetime.date(year, month, day))
    except ValueError:
        return False


def _wrong_kind(texts: Sequence[str], golds: Sequence[str]) -> float:
    asked = [(kind, text) for gold, text in zip(golds, texts, strict=False) if (kind := kind_of(gold))]
    return sum(not _holds_kind(kind, text) for kind, text in asked) / len(asked) if asked else 0.0


def _same(texts: Sequence[str], golds: Sequence[str]) -> float:
    """Share of the commonest text, less that of the commonest right answer: yes and no may be right."""
    if len(texts) < _MIN_SAME:
        return 0.0
    shares = [
        max(Counter(" ".join(one.lower().split()) for one in found).values()) / len(found)
        for found in (texts, golds)
        if found
    ]
    return max(0.0, shares[0] - (shares[1] if len(shares) > 1 else 0.0))


def _repeated(grams: Sequence[object]) -> float:
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def repetition(text: str) -> float:
    """Share of 3-grams that occurred before, 0..1; of words, or of characters where there are few words."""
    return _repeated(_grams(_units(text), 3))


def known_share(text: str, known: frozenset[str]) -> float:
    """Share of words that are in `known`, 0..1; 1 where there are too few words to say."""
    words = _words(text)
    if not known or len(words) < _MIN_WORDS:
        return 1.0
    return sum(word in known for word in words) / len(words)


def ngram_entropy(words: Sequence[str]) -> float:
    """(2/3 H2 + 4/3 H3) / 2 with Hn the entropy (bits) of the n-grams: about 4 for a paragraph, 0 for one word
    repeated, and for too few."""
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
