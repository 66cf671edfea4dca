"""What a person reads of a prompt in which a chat template is already rendered."""

from __future__ import annotations

import re

_MARKER = re.compile(r"<\|[^<>|\n]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|</?s>")
_ROLE = re.compile(r"^\s*(?:system|user|human|assistant|model|ai)\s*:?\s*\n", re.IGNORECASE)


def last_turn(prompt: str) -> str:
    """The last question and, after an ellipsis, the answer that it begins; a prompt without markers as it is."""
    if not _MARKER.search(prompt):
        return prompt
    turns = [_ROLE.sub("", part + "\n").strip() for part in _MARKER.split(prompt)]
    turns = [turn for turn in turns if turn and not re.fullmatch(r"system|user|human|assistant|model|ai", turn)]
    if not turns:
        return prompt
    asks = _MARKER.split(prompt)[-1].strip() in ("", "assistant", "model", "ai")  # no word of the answer is begun
    return turns[-1] if asks else " \N{HORIZONTAL ELLIPSIS} ".join(turns[-2:])
