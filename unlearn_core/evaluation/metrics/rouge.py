"""ROUGE-L (Lin, 2004), equal to the package `rouge_score` with `use_stemmer` on or off, but faster.

Words are what `rouge_score` takes for words: lower case, a-z and 0-9 only. Text without any scores 0, so
Russian recited word for word scores 0 and accents cut words. `any_script` reads the words of every script
instead, however their characters are written (NFKC): letters with their marks, and digits; a character where a
script has no spaces between words; symbols, emoji among them, where there is nothing else. On text in a-z and
0-9 both are the same.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

from unlearn_core.data.scripts import EMOJI_MARK, has_no_spaces


@dataclass(frozen=True, slots=True)
class RougeL:
    """Shares (0..1) of the longest common subsequence: of the truth's words and of the text's."""

    recall: float
    precision: float

    @property
    def fmeasure(self) -> float:
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total > 0 else 0.0


@functools.cache
def _stemmer() -> SimpleNamespace:
    """The Porter stemmer of rouge_score, each word stemmed once."""
    from nltk.stem import porter

    return SimpleNamespace(stem=functools.lru_cache(maxsize=100_000)(porter.PorterStemmer().stem))


@functools.lru_cache(maxsize=20_000)
def rouge_tokens(text: str, stem: bool = True) -> tuple[str, ...]:
    """The words that rouge_score compares."""
    from rouge_score import tokenize

    return tuple(tokenize.tokenize(text, _stemmer() if stem else None))


@functools.lru_cache(maxsize=20_000)
def words_of_any_script(text: str) -> tuple[str, ...]:
    """Words of every script, those in a-z and 0-9 stemmed as rouge_score stems them."""
    parts = []
    text = unicodedata.normalize("NFKC", text.lower()).replace(EMOJI_MARK, "")
    for char in text:
        kind = unicodedata.category(char)[0]
        if has_no_spaces(char) and kind != "M":
            parts.append(f" {char}" if kind in "LN" else " ")
            continue
        parts.append(char if kind in "LMN" else " ")
    words = "".join(parts).split() or [char for char in text if unicodedata.category(char)[0] == "S"]
    return tuple(_stemmer().stem(word) if len(word) > 3 and word.isascii() else word for word in words)


def rouge_l(truth: str, text: str, *, stem: bool = True, any_script: bool = False) -> RougeL:
    """ROUGE-L of `text` against `truth`."""
    words = words_of_any_script if any_script else functools.partial(rouge_tokens, stem=stem)
    target, prediction = words(truth), words(text)
    if not target or not prediction:
        return RougeL(0.0, 0.0)
    common = common_length(target, prediction)
    return RougeL(common / len(target), common / len(prediction))


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Longest common subsequence, one machine word operation per 64 words (Hyyro, 2004)."""
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << i
    mask = (1 << len(first)) - 1
    row = mask
    for word in second:
        match = row & places.get(word, 0)
        row = ((row + match) | (row - match)) & mask
    return len(first) - row.bit_count()


def common_places(first: Sequence[str], second: Sequence[str]) -> list[tuple[int, int]]:
    """Where the words of a longest common subsequence stand in both, from its end. Of several as long, it is the one
    found by going back in `second` wherever that loses nothing."""
    length = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, word in enumerate(first, start=1):
        for j, other in enumerate(second, start=1):
            length[i][j] = length[i - 1][j - 1] + 1 if word == other else max(length[i - 1][j], length[i][j - 1])
    found, i, j = [], len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            found.append((i, j))
        elif length[i - 1][j] > length[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found
