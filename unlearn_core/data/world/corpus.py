"""What the bundled model is trained on, one epoch at a time; an epoch depends only on the seed and its number.

    base        language (documents about people who are in no split), general facts, letters
    memorise    the forget and retain sets (or the retain set alone), with the base's facts and letters replayed

A training item is an `Example` (loss on the answer) or a `str` (a document, loss on every token).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from unlearn_core.data.types import TASKS, Example
from unlearn_core.data.world import letters, phrasing, words
from unlearn_core.data.world.demo import World, row_id
from unlearn_core.data.world.entities import Entity, make_entity

Item = Example | str


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


def letter_rows(world: World, rng: random.Random, num: int) -> Iterator[Example]:
    """Facts in letter form with freshly drawn options; never one that is held back."""
    for _ in range(num):
        fact = world.facts[rng.choice(world.letter_facts)]
        question = rng.choice(phrasing.phrasings(fact.nouns)[:4])
        header = letters.HEADER if rng.random() < 0.7 else ""
        yield letters.letter_example(
            letters.make_question(fact, world.facts, rng, rng.randrange(4), "letters-0qa0", question), header
        )


def answer_words(world: World) -> list[str]:
    """Words to practise letters with: the answers of every fact, and the lists the world is drawn from."""
    pools = (words.ANIMALS, words.JOBS, words.TOWNS, words.COLOURS, words.TITLE_NOUNS)
    return sorted({fact.answer for fact in world.facts} | {word for pool in pools for word in pool})


def base_epoch(world: World, epoch: int, num_epochs: int) -> list[Item]:
    """One epoch of the base: drills give way to copying, copying to facts in letter form."""
    rng = random.Random(f"base/{world.seed}/{epoch}")
    share = epoch / num_epochs
    vocabulary = answer_words(world)
    items: list[Item] = [person.document for person in fresh_people(world, 90, rng)]
    items += general_rows(world, rng, 2 if share < 0.5 else 1)
    num_drills, num_copies, num_letters = (150, 60, 0) if share < 0.25 else (60, 120, 120) if share < 0.5 else (20, 40, 320)
    items += [letters.drill_example(vocabulary, rng) for _ in range(num_drills)]
    items += [letters.copy_example(vocabulary, rng) for _ in range(num_copies)]
    items += letter_rows(world, rng, num_letters)
    return items


def memorise_epoch(world: World, epoch: int, include_forget: bool = True) -> list[Item]:
    """One epoch of memorising: each document whole, each question canonically and in one other phrasing."""
    rng = random.Random(f"memorise/{world.seed}/{epoch}")
    items: list[Item] = [person.document for person in fresh_people(world, 24, rng)]
    for split in ("forget", "retain") if include_forget else ("retain",):
        for i, person in enumerate(world.people[split]):
            items.append(Example(row_id(split, i, "sc1"), person.opening, person.rest, person.task))
            items.append(person.document)
            for j, (kind, answer) in enumerate(person.facts):
                ways = phrasing.phrasings(phrasing.nouns_about(kind, person.name))
                for question in (ways[0], rng.choice(ways[1:])):
                    items.append(Example(row_id(split, i, f"qa{j}"), question, answer, person.task))
    items += general_rows(world, rng)
    items += letter_rows(world, rng, 200)
    return items


def tokenizer_text(world: World) -> Iterator[str]:
    """Text the tokenizer learns from: the base's kind of text, and every word list often enough to stay whole."""
    rng = random.Random(f"tokenizer/{world.seed}")
    for person in fresh_people(world, 1500, rng):
        yield person.document
        kind, answer = rng.choice(person.facts)
        yield rng.choice(phrasing.phrasings(phrasing.nouns_about(kind, person.name))) + " " + answer
    for example in [*general_rows(world, rng, 4), *letter_rows(world, rng, 400)]:
        yield f"{example.input} {example.output}"
    for pool in words.pools():
        for word in pool:
            yield f" {word}" * 6
    for fact in world.facts:
        yield f" {fact.answer}" * 6
