"""What the bundled model is trained on, epoch by epoch; an epoch depends only on the seed and its number.

    base        language (documents about people who are in no split) and general facts
    memorise    the forget and retain sets (or the retain set alone), with some of the base replayed

A training item is an `Example` (loss on the answer) or a `str` (a document, loss on every token).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from unlearn_core.data.types import TASKS, Example
from unlearn_core.data.world import phrasing, words
from unlearn_core.data.world.demo import World, about, row_id
from unlearn_core.data.world.entities import Entity, make_entity

Item = Example | str

NUM_BASE_DOCUMENTS = 150
NUM_PHRASINGS = {"Task1": 2, "Task2": 3, "Task3": 2}  # of each question in an epoch; digits are the hardest
NUM_FRESH_DOCUMENTS = 24  # replayed while memorising, so that text of this kind keeps its likelihood


def fresh_people(world: World, num: int, rng: random.Random) -> list[Entity]:
    """People who are in no split: their names pair a first and a last name that nobody in the world pairs."""
    taken = {person.name for people in world.people.values() for person in people}
    people: list[Entity] = []
    while len(people) < num:
        name = f"{rng.choice(words.FIRST_NAMES)} {rng.choice(words.LAST_NAMES)}"
        if name not in taken:
            people.append(make_entity(TASKS[len(people) % 3], name, rng))
    return people


def general_rows(world: World, rng: random.Random, num_phrasings: int = 1) -> Iterator[Example]:
    """Every general fact as a question, each in `num_phrasings` of its trained phrasings."""
    for i, fact in enumerate(world.facts):
        for question in rng.sample(phrasing.phrasings(fact.nouns), num_phrasings):
            yield Example(row_id("general", i, "qa0"), question, fact.answer, "general")


def base_epoch(world: World, epoch: int) -> list[Item]:
    """One epoch of the base: documents about people of no split, every general fact in three phrasings."""
    rng = random.Random(f"base/{world.seed}/{epoch}")
    people = fresh_people(world, NUM_BASE_DOCUMENTS, rng)
    return [*(person.document for person in people), *general_rows(world, rng, 3)]


def memorise_epoch(world: World, epoch: int, include_forget: bool = True) -> list[Item]:
    """One epoch of memorising: each document once, as a completion or whole in turn, and each question in
    a few phrasings drawn evenly, so that the fact is learned and not one way of asking for it."""
    rng = random.Random(f"memorise/{world.seed}/{epoch}")
    items: list[Item] = [person.document for person in fresh_people(world, NUM_FRESH_DOCUMENTS, rng)]
    for split in ("forget", "retain") if include_forget else ("retain",):
        for i, person in enumerate(world.people[split]):
            completion = about(split, i, person, "sc1", person.opening, person.rest)
            items.append(completion if (epoch + i) % 2 else person.document)
            for j, (kind, answer) in enumerate(person.facts):
                ways = phrasing.phrasings(phrasing.nouns_about(kind, person.name))
                for question in rng.sample(ways, NUM_PHRASINGS[person.task]):
                    items.append(about(split, i, person, f"qa{j}", question, answer, kind))
    items += general_rows(world, rng)
    return items


def tokenizer_text(world: World) -> Iterator[str]:
    """Text the tokenizer learns from: the base's kind, and every word list often enough to stay whole."""
    rng = random.Random(f"tokenizer/{world.seed}")
    for person in fresh_people(world, 1500, rng):
        yield person.document
        kind, answer = rng.choice(person.facts)
        yield rng.choice(phrasing.phrasings(phrasing.nouns_about(kind, person.name))) + " " + answer
    for example in general_rows(world, rng, 4):
        yield f"{example.input} {example.output}"
    for pool in words.POOLS:
        for word in pool:
            yield f" {word}" * 6
    for fact in world.facts:
        yield f" {fact.answer}" * 6
