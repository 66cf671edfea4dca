"""ROUGE-L recall as the package `rouge` (pltrdy, 1.0.1) computes it: the measure of RWKU.

Not `rouge_score`'s: case counts, words end at spaces alone, punctuation belongs to them, texts fall into
sentences at every full stop, and words count once. A text of full stops alone, which that package refuses, scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence


def rouge_l_recall_rwku(truth: str, text: str) -> float:
    """The share (0..1) of the distinct words of `truth` that are in a longest common subsequence of one of its
    sentences and one of `text`."""
    said, wanted = _sentences(text), _sentences(truth)
    words = {word for sentence in wanted for word in sentence}
    if not said or not words:
        return 0.0
    shared = {word for sentence in wanted for other in said for word in _common_words(sentence, other)}
    return len(shared) / len(words)


def _sentences(text: str) -> list[list[str]]:
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]


def _common_words(first: Sequence[str], second: Sequence[str]) -> set[str]:
    """The words of the longest common subsequence that the package picks among several."""
    table = [[0] * (len(second) + 1) for _ in range(len(first) + 1)]
    for i, word in enumerate(first, start=1):
        for j, other in enumerate(second, start=1):
            table[i][j] = table[i - 1][j - 1] + 1 if word == other else max(table[i - 1][j], table[i][j - 1])
    found, i, j = set(), len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            found.add(first[i - 1])
            i, j = i - 1, j - 1
        elif table[i - 1][j] > table[i][j - 1]:
            i -= 1
        else:
            j -= 1
    return found
