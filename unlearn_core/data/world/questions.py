"""Four-option questions about general facts, asked in the phrasing that no training row uses.

They are scored by the likelihood of each option's text. Letters (" A" .. " D") were tried on a model of
1.7 million parameters and not learned in the time that two processor cores allow: after 1.1 million tokens
with drills, copying and facts in letter form among them, and after 0.57 million of drills and copying
alone, it answered at chance, so letter form would measure nothing here.
"""

from __future__ import annotations

import random

from unlearn_core.data.types import Question
from unlearn_core.data.world import phrasing
from unlearn_core.data.world.facts import Fact, distractors

SUBJECT = "general_knowledge"
HELD_BACK = 1 / 3  # of the facts of each kind are asked as questions; their options are never trained on


def held_back(facts: tuple[Fact, ...], seed: int) -> tuple[int, ...]:
    """Numbers of the facts that are asked as questions, a third of each kind, ascending."""
    rng = random.Random(f"held back/{seed}")
    chosen: list[int] = []
    for relation in dict.fromkeys(fact.relation for fact in facts):
        members = [i for i, fact in enumerate(facts) if fact.relation == relation]
        chosen += rng.sample(members, round(len(members) * HELD_BACK))
    return tuple(sorted(chosen))


def four_options(facts: tuple[Fact, ...], seed: int) -> tuple[Question, ...]:
    """The held-back facts with three wrong answers of their kind; right places balanced, in random order."""
    numbers = held_back(facts, seed)
    rng = random.Random(f"questions/{seed}")
    answers = [i % 4 for i in range(len(numbers))]
    rng.shuffle(answers)
    pairs = zip(numbers, answers, strict=True)
    return tuple(_question(facts, number, answer, rng) for number, answer in pairs)


def _question(facts: tuple[Fact, ...], number: int, answer: int, rng: random.Random) -> Question:
    fact = facts[number]
    choices = rng.sample(distractors(fact, facts), 3)
    choices.insert(answer, fact.answer)
    a, b, c, d = choices
    return Question(f"question-{number:03}", phrasing.unseen(fact.nouns), (a, b, c, d), answer, SUBJECT)
