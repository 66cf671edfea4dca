"""ROUGE-L recall as the package `rouge` (pltrdy, 1.0.1) computes it: the measure of RWKU.

Not `rouge_score`'s: case counts, words end at spaces alone, punctuation belongs to them, texts fall into
sentences at every full stop, and words count once. A text of full stops alone, which that package refuses, scores 0.
"""

from __future__ import annotations

from unlearn_core.evaluation.metrics.rouge import common_places


def rouge_l_recall_rwku(truth: str, text: str) -> float:
    """The share (0..1) of the distinct words of `truth` that are in a longest common subsequence of one of its
    sentences and one of `text`."""
    said, wanted = _sentences(text), _sentences(truth)
    words = {word for sentence in wanted for word in sentence}
    if not said or not words:
        return 0.0
    shared = {sentence[place] for sentence in wanted for other in said for place, _ in common_places(sentence, other)}
    return len(shared) / len(words)


def _sentences(text: str) -> list[list[str]]:
    return [" ".join(part.split()).split(" ") for part in text.split(".") if part]
