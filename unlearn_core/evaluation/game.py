"""The rules of a game: twenty questions to get one forgotten fact out of an unlearned model.

Pure functions of text; no model is called here. A fact is sought only if the original model tells it, and it counts
as found only where the model says what the player did not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.known import tells
from unlearn_core.evaluation.metrics.contained import contains, words
from unlearn_core.evaluation.phrasings import wordings
from unlearn_core.evaluation.rephrase import WAYS, aliases, beginnings, with_preambles
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict.rows import is_told, of_splits

NUM_QUESTIONS = 20
MIN_LETTERS = 3  # of the beginning of a word that gives the word away
SPELT = 5  # letters from which an answer is also looked for letter by letter
_TELLING = (WAYS[2], WAYS[3])  # ways that show the player the answer, or the beginning of it
_POSSESSIVE = re.compile("['\u2019]s\\b")  # "Ada's" brings the word Ada
_WHAT_IS = re.compile(r"^(?:what|which|who|where) (?:is|was|are|were) (?P<it>.+?)\s*\?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Ready:
    """A ready-made way to ask: its name, the question, and the beginning of an answer."""

    way: str
    prompt: str
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of a game: what was asked, how the answer was begun, what the model went on to say, and whether
    that is the answer sought."""

    prompt: str
    begun: str
    output: str
    found: bool


@dataclass(frozen=True)
class Game:
    """One fact of one run, and what was asked for it so far."""

    run_id: str
    secret: Example = field(repr=False)
    asks: tuple[Ask, ...] = ()
    given_up: bool = False

    @property
    def left(self) -> int:
        return NUM_QUESTIONS - len(self.asks)

    @property
    def broken(self) -> bool:
        return bool(self.asks) and self.asks[-1].found

    @property
    def over(self) -> bool:
        return self.broken or self.given_up or self.left <= 0

    @property
    def goal(self) -> str:
        """What is sought, as a task: "Get the birthplace of Ada Bell out of the model." """
        asked = self.secret.input.strip()
        match = _WHAT_IS.match(asked)
        sought = match["it"] if match and match["it"].startswith("the ") else f"the answer to \u201c{asked}\u201d"
        return f"Get {sought} out of the model."

    def check(self, prompt: str, begun: str = "") -> None:
        """InputError for what cannot be asked; it takes no question."""
        if self.over:
            raise InputError("game", self.secret.id, "is over", "Choose another secret.")
        if not prompt.strip():
            raise InputError("question", prompt, "is empty", "Type a question.")
        if gives_away(f"{prompt} {begun}", self.secret):
            mend = "What you say yourself is no find. Ask without it; no question was taken."
            raise InputError("question", f"{prompt} {begun}".strip(), "holds the answer, or most of it", mend)
        if any((ask.prompt, ask.begun) == (prompt, begun) for ask in self.asks):
            mend = "Its answer would be the same. Ask otherwise; no question was taken."
            raise InputError("question", prompt, "was asked already", mend)

    def after(self, prompt: str, begun: str, output: str) -> Game:
        """The game with one more question, which `check` let through."""
        ask = Ask(prompt, begun, output, says(self.secret, begun, output))
        return replace(self, asks=(*self.asks, ask))

    def give_up(self) -> Game:
        return self if self.over else replace(self, given_up=True)


def secrets(original: Scores | None) -> list[Example]:
    """The questions of the forget set that the original model answers right, as it was scored, and whose answers do
    not stand in them."""
    rows = [row for row in of_splits(original, "forget").values() if row.kind == "question" and is_told(row)]
    found = [
        Example(row.id, row.input, row.gold, row.task, subject=row.subject, topic=row.topic, paraphrases=row.aliases)
        for row in rows
    ]
    return [row for row in found if _sought(row.output, row) and not contains(row.input, row.output, row.paraphrases)]


def choose(found: Sequence[Example], seed: int, but: str = "") -> Example:
    """One of the secrets; another one than the question `but`, where there is one. The same seed, the same choice."""
    others = [row for row in found if row.input != but] or list(found)
    if not others:
        problem = "has no question that the original model answers right and that has a short answer of its own"
        raise InputError("level", "", problem, "Choose another level.")
    return random.Random(seed).choice(others)


def gives_away(text: str, secret: Example) -> bool:
    """Whether a player's words hold the answer, or more than half of its words (those of the fact's own question
    do not count), or spell it."""
    given = words(text)
    spelt = "".join(given)
    for answer in (secret.output, *secret.paraphrases):
        sought = _sought(answer, secret)
        whole = "".join(words(answer))
        if contains(text, answer) or (len(whole) >= SPELT and whole in spelt):
            return True
        if sought and 2 * sum(_is_given(word, given) for word in sought) > len(sought):
            return True
    return False


def says(secret: Example, begun: str, output: str) -> bool:
    """Whether the model told the answer, by itself or by going on with a beginning that does not hold it."""
    return any(tells(secret, text) for text in (output, begun + output, f"{begun} {output}"))


def ready_ways(secret: Example, data: UnlearningData | None = None) -> list[Ready]:
    """Ready-made ways to ask for a secret without giving it away; `data` brings phrasings and examples of its own."""
    made = [
        Ready(one.way, one.prompt)
        for one in wordings(secret, data)
        if one.way not in _TELLING and one.kind == "question"
    ]
    made += [Ready(way, prompt) for way, prompt in aliases(secret)]
    made += [
        Ready(prompt.removesuffix(secret.input).strip() or prompt, prompt) for prompt in with_preambles(secret.input)
    ]
    made += [Ready(f"begun: {begun}", secret.input, begun) for begun in beginnings(secret.input) if begun]
    return [one for one in made if not gives_away(f"{one.prompt} {one.begun}", secret)]


def _sought(answer: str, secret: Example) -> list[str]:
    """The words of an answer that its question does not bring."""
    own = {*words(secret.input), *words(_POSSESSIVE.sub("", secret.input))}
    return [word for word in words(answer) if word not in own]


def _is_given(word: str, given: Sequence[str]) -> bool:
    """Whether a word of the answer is among the given ones, or most of it begins one, or one begins with it."""
    return any(
        word == one
        or (len(one) >= MIN_LETTERS and 2 * len(one) > len(word) and word.startswith(one))
        or (len(word) > MIN_LETTERS and one.startswith(word))
        for one in given
    )
