"""The bundled world as data: 60 documents to forget, 60 to keep, and everything that judges it.

Everything is drawn from one seed; nobody in it exists. Each person has a first and a last name that no
other person of the world shares.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass

from unlearn_core.data.types import TASKS, Example, UnlearningData
from unlearn_core.data.world import phrasing, words
from unlearn_core.data.world.entities import Entity, make_entity
from unlearn_core.data.world.facts import Fact, general_facts
from unlearn_core.data.world.questions import four_options

NUM_PER_TASK = {"forget": 20, "retain": 20, "holdout": 24, "nonmember": 54}
MAX_NEW_TOKENS = 72
NOTE = "Synthetic: every person, number and address is invented."


@dataclass(frozen=True)
class World:
    """The people by split (in task order) and the general facts."""

    seed: int
    people: dict[str, tuple[Entity, ...]]
    facts: tuple[Fact, ...]


@functools.lru_cache(maxsize=4)
def make_world(seed: int = 0) -> World:
    """Draw the world of `seed`."""
    rng = random.Random(f"world/{seed}")
    firsts, lasts = list(words.FIRST_NAMES), list(words.LAST_NAMES)
    rng.shuffle(firsts)
    rng.shuffle(lasts)
    names = iter([f"{first} {last}" for first, last in zip(firsts, lasts, strict=True)])
    people: dict[str, list[Entity]] = {split: [] for split in NUM_PER_TASK}
    for task in TASKS:
        for split, count in NUM_PER_TASK.items():
            people[split] += [make_entity(task, next(names), rng) for _ in range(count)]
    return World(seed, {split: tuple(rows) for split, rows in people.items()}, general_facts())


def demo_data(seed: int = 0) -> UnlearningData:
    """The bundled forget set, retain set and everything that judges a run on them."""
    world = make_world(seed)
    rows = {split: _rows(split, world.people[split]) for split in ("forget", "retain", "holdout")}
    return UnlearningData(
        name="demo",
        forget=tuple(rows["forget"]),
        retain=tuple(rows["retain"]),
        members=tuple(person.document for person in world.people["forget"]),
        nonmembers=tuple(person.document for person in world.people["nonmember"]),
        questions=four_options(world.facts, seed),
        paraphrases=tuple(_paraphrases("forget", world)) + tuple(_paraphrases("retain", world)),
        holdout=tuple(rows["holdout"]),
        general=tuple(_general(world)),
        question_form="likelihood",
        max_new_tokens=MAX_NEW_TOKENS,
        notes=(NOTE,),
    )


def row_id(split: str, number: int, suffix: str) -> str:
    return f"{split}-{number:03}{suffix}"


def about(split: str, number: int, person: Entity, suffix: str, prompt: str, answer: str, topic: str = "") -> Example:
    """A row about `person`, the `number`th of the split; without a topic it completes their document."""
    return Example(
        row_id(split, number, suffix),
        prompt,
        answer,
        person.task,
        kind="question" if topic else "completion",
        subject=person.name,
        topic=topic or "document",
        document=row_id(split, number, ""),
    )


def _rows(split: str, people: tuple[Entity, ...]) -> list[Example]:
    rows = []
    for i, person in enumerate(people):
        rows.append(about(split, i, person, "sc1", person.opening, person.rest))
        for j, (kind, answer) in enumerate(person.facts):
            question = phrasing.phrasings(phrasing.nouns_about(kind, person.name))[0]
            rows.append(about(split, i, person, f"qa{j}", question, answer, kind))
    return rows


def _paraphrases(split: str, world: World) -> list[Example]:
    rows = []
    for i, person in enumerate(world.people[split]):
        for j, (kind, answer) in enumerate(person.facts):
            question = phrasing.unseen(phrasing.nouns_about(kind, person.name))
            rows.append(about(split, i, person, f"qa{j}", question, answer, kind))
    return rows


def _general(world: World) -> list[Example]:
    rows = []
    for i, fact in enumerate(world.facts):
        fact_id = row_id("general", i, "")
        for j, question in enumerate(phrasing.phrasings(fact.nouns)[:2]):
            rows.append(Example(f"{fact_id}qa{j}", question, fact.answer, "general", document=fact_id))
    return rows
