"""What a person should know of the rows before a run: prompts that contradict each other, rows in both sets."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import clip


def notes_on_rows(data: UnlearningData) -> Iterator[str]:
    """Sentences; none for rows that raise no question."""
    for split, rows in (("forget", data.forget), ("retain", data.retain)):
        yield from _contradictions(split, rows)
    forget = {(_prompt(row), _plain(row.output)) for row in data.forget}
    both = [row for row in data.retain if (_prompt(row), _plain(row.output)) in forget]
    if both:
        yield (
            f"{len(both)} of {len(data.retain)} retain rows are forget rows too, so they are to be kept and to be "
            f"forgotten; the first is {clip(both[0].input, 60)!r}."
        )
    talks = sum(any(role == "assistant" for role, _ in row.turns) for row in data.forget)
    if talks:
        yield (
            f"{talks} forget rows are talks of several turns: what was said before is their context, and the last "
            "answer alone is to be forgotten."
        )


def _prompt(row: Example) -> int:
    return hash((_plain(row.input), *((role, _plain(said)) for role, said in row.turns)))


def _plain(text: str) -> int:
    """The same for texts that differ in case, in white space or in a full stop alone."""
    return hash(" ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip("."))


def _contradictions(split: str, rows: Iterable[Example]) -> Iterator[str]:
    answers: dict[int, int] = {}
    several: dict[int, str] = {}
    for row in rows:
        prompt, answer = _prompt(row), _plain(row.output)
        if answers.setdefault(prompt, answer) != answer:
            several[prompt] = row.input
    if several:
        first = clip(next(iter(several.values())), 60)
        yield (
            f"{len(several)} prompts of the {split} set have several answers, of which a model can give one; "
            f"the first is {first!r}."
        )
