"""Which words of an answer are words of the gold answer, in order: what ROUGE-L recall counts."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_WORDS = 600  # the table below is quadratic; longer answers are compared up to here

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
    for position in _common([pieces[i].lower() for i in words], gold_words):
        marked[words[position]] = True
    _fill_gaps(pieces, marked)
    return _stretches(pieces, marked)


def _common(ours: list[str], theirs: list[str]) -> list[int]:
    """Positions in `ours` of one longest common subsequence."""
    rows, columns = len(ours), len(theirs)
    length = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            if ours[i] == theirs[j]:
                length[i][j] = length[i + 1][j + 1] + 1
            else:
                length[i][j] = max(length[i + 1][j], length[i][j + 1])
    found, i, j = [], 0, 0
    while i < rows and j < columns:
        if ours[i] == theirs[j]:
            found.append(i)
            i, j = i + 1, j + 1
        elif length[i + 1][j] >= length[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


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
