"""Does a text tell the answer? The answer's words, or an alias's, stand in it in a row.

The contained-answer rate of TriviaQA (Joshi et al., arXiv 1705.03551): answer and text lose case,
punctuation and articles. What is not covered: an answer that is denied ("not Paris") counts as told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from unlearn_core.data.scripts import EMOJI_MARK, has_no_spaces

_ARTICLES = frozenset(("a", "an", "the"))
_HANGUL = re.compile("[\uac00-\ud7a3]")
# Signs that carry the meaning, as the words they stand for: C does not tell C++, 3 not -3, and 50 people not 50%.
_SIGNS = (
    (re.compile(r"(?<=[^\W\d_])\+\+"), " plus plus "),
    (re.compile(r"(?<=[^\W\d_])\+(?!\w)"), " plus "),
    (re.compile(r"(?<=[^\W\d_])#(?!\w)"), " sharp "),
    (re.compile(r"(?<![\w.,%)\]-])(?<!\d\s)[-\u2212](?=\.?\d)|\bnegative(?=\s\d)"), " minus "),
    (re.compile(r"(?<=\d)\s?[%\u066a]|\b(?:per cent|pro[zc]ent|pour cent|por cento|por ciento)\b"), " percent "),
)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def contains(text: str, answer: str, aliases: Iterable[str] = ()) -> bool:
    """Whether `text` holds the words of `answer`, or of one of `aliases`, as a whole and in order."""
    return any(_holds(text, wanted) for wanted in (answer, *aliases))


def words(text: str) -> list[str]:
    """The words of `text` in any script, without case, punctuation and articles; a decimal point stays."""
    return [word for word in _split(text) if word not in _ARTICLES]


def _holds(text: str, answer: str) -> bool:
    wanted, written = words(answer), words(text)
    if not wanted:  # the vitamin is A
        wanted, written = [*_split(answer)], [*_split(text)]
    if not wanted:  # emoji
        wanted, written = _symbols(answer), _symbols(text)
    size = len(wanted)
    return size > 0 and any(_are(written[at : at + size], wanted) for at in range(len(written) - size + 1))


def _are(written: list[str], wanted: list[str]) -> bool:
    """Whether these are the words; in Korean a particle, or the verb "to be", joins the last of them."""
    if _HANGUL.match(wanted[-1][-1]):
        return written[:-1] == wanted[:-1] and written[-1].startswith(wanted[-1])
    return written == wanted


def _symbols(text: str) -> list[str]:
    return [char for char in text if unicodedata.category(char)[0] == "S"]


@lru_cache(maxsize=4096)  # a verdict asks for each text once for every other row
def _split(text: str) -> tuple[str, ...]:
    """Runs of letters, marks and digits; marks belong to the letter before them, which `\\w` would lose."""
    text = _THOUSANDS.sub("", unicodedata.normalize("NFKC", text).casefold().replace(EMOJI_MARK, ""))
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")  # soft hyphens, joiners: unseen
    for sign, word in _SIGNS:
        text = sign.sub(word, text)
    kept = []
    for at, char in enumerate(text):
        if has_no_spaces(char):  # there a character stands for a word
            kept.append(f" {char} " if not unicodedata.category(char).startswith("M") else char)
        elif unicodedata.category(char)[0] in "LMN" or _is_decimal_point(text, at):
            kept.append(char)
        elif char not in "'\u2019":  # O'Neil is one word, with or without it
            kept.append(" ")
    return tuple("".join(kept).split())


def _is_decimal_point(text: str, at: int) -> bool:
    return text[at] == "." and text[at - 1 : at].isdigit() and text[at + 1 : at + 2].isdigit()
