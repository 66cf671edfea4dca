"""A question with some of its words left out: what is told whatever the wording is learned from several."""

from __future__ import annotations

import random
import re
from dataclasses import replace

from unlearn_core.data.subjects import subject_of
from unlearn_core.data.types import Example

LEFT_OUT = 0.5  # share of the words that are not the subject's name
MOST_WORDS = 60  # of a question; a longer one brings a text, which is not asked otherwise without its words
_TRIES = 4  # draws for each question wanted


def fewer_words(row: Example, count: int, seed: int) -> list[Example]:
    """Up to `count` different questions of `row` with about half of its words left out, the same for one seed. The
    name it asks about stays, and so do the order and the answer. None of a completion, one word or a whole text."""
    if row.kind != "question" or row.turns:
        return []
    words, name = row.input.split(), set(re.findall(r"\w+", subject_of(row)))
    others = [place for place, word in enumerate(words) if not name & set(re.findall(r"\w+", word))]
    rng = random.Random(f"{seed}/{row.id}")
    found: dict[str, None] = {}
    for _ in range(_TRIES * count if 1 < len(words) <= MOST_WORDS else 0):
        out = {place for place in others if rng.random() < LEFT_OUT}
        text = " ".join(word for place, word in enumerate(words) if place not in out)
        if text and text != row.input and len(found) < count:
            found[text] = None
    return [replace(row, id=f"{row.id}~{number}", input=text) for number, text in enumerate(found)]
