"""What a person reads of a prompt in which a chat template is already rendered."""

from __future__ import annotations

import re

_MARKER = re.compile(r"<\|[^<>|\n]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|</?s>")
_ROLE = re.compile(r"^\s*(?:system|user|human|assistant|model|ai)\s*:?\s*(?:\n|$)", re.IGNORECASE)


def last_turn(prompt: str) -> str:
    """The last question and, after an ellipsis, the answer that it begins; a prompt without markers as it is."""
    parts = _MARKER.split(prompt)
    turns = [_ROLE.sub("", part).strip() for part in parts]
    spoken = [turn for turn in turns if turn]
    if len(parts) == 1 or not spoken:
        return prompt
    is_begun = bool(turns[-1])
    return " \N{HORIZONTAL ELLIPSIS} ".join(spoken[-2:] if is_begun else spoken[-1:])
