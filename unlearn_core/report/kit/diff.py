"""Which words of an answer are words of the gold answer, in order: what ROUGE-L recall counts."""

from __future__ import annotations

import re
from dataclasses import dataclass

from unlearn_core.evaluation.metrics.rouge import common_places

MAX_WORDS = 600  # comparing takes their square; longer answers are compared up to here

_PIECES = re.compile(r"\w+|[^\w\s]|\s+")
_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an answer; `matches` says whether it is part of the gold answer, in order."""

    text: str
    matches: bool


def compare(gold: str, output: str) -> tuple[Piece, ...]:
    """`output` cut into stretches that match the longest common subsequence with `gold`, and the rest.

    Words compare without case; punctuation and spaces take the side of the word before them only where
    the word after agrees, so that a matched phrase is one stretch. Joining the texts gives `output` back.
    """
    pieces = _PIECES.findall(output)
    words = [i for i, piece in enumerate(pieces) if _WORD.match(piece)][:MAX_WORDS]
    gold_words = [word.lower() for word in re.findall(r"\w+", gold)][:MAX_WORDS]
    marked = [False] * len(pieces)
    for _, position in common_places(gold_words[::-1], [pieces[i].lower() for i in reversed(words)]):
        marked[words[-1 - position]] = True
    _fill_gaps(pieces, marked)
    return _stretches(pieces, marked)


def _fill_gaps(pieces: list[str], marked: list[bool]) -> None:
    """Mark what stands between two matched words with nothing else but punctuation or space."""
    last = None
    for i, piece in enumerate(pieces):
        if not _WORD.match(piece):
            continue
        if marked[i]:
            if last is not None:
                for between in range(last + 1, i):
                    marked[between] = True
            last = i
        else:
            last = None


def _stretches(pieces: list[str], marked: list[bool]) -> tuple[Piece, ...]:
    merged: list[Piece] = []
    for piece, matches in zip(pieces, marked, strict=True):
        if merged and merged[-1].matches == matches:
            merged[-1] = Piece(merged[-1].text + piece, matches)
        else:
            merged.append(Piece(piece, matches))
    return tuple(merged)
