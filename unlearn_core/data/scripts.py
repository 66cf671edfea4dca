"""Which scripts are written without spaces between words."""

from __future__ import annotations

import re

EMOJI_MARK = "\ufe0f"  # behind a symbol: show it as a picture; no mark of a letter
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fdf\u3005-\u3007\u3021-\u30ff"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)


def has_no_spaces(character: str) -> bool:
    """Whether a character is of such a script: Chinese, Japanese, Thai, Lao, Burmese, Khmer, Tibetan. Korean
    has spaces."""
    return bool(_UNSPACED.match(character))
