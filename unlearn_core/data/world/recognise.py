"""Rows that somebody wrote about the bundled world, read as the world's own, with all others to keep beside them.

A typed question names a person by full, first or last name, which nobody else in the world has; what it asks is
told by the world's own words for it ("the birth date of") or by the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unlearn_core.data.subjects import names, with_others
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.data.world import phrasing
from unlearn_core.data.world.demo import demo_data, make_world
from unlearn_core.data.world.entities import Entity

KNOWN = ("forget", "retain")  # the splits whose people the bundled model has learned


def recognised(rows: Sequence[Example]) -> tuple[Example, ...]:
    """The rows in their order; each about a known person of the world has the subject, task and topic set."""
    people = [person for split in KNOWN for person in make_world().people[split]]
    return tuple(_recognise(row, people) for row in rows)


def with_bundled_others(data: UnlearningData) -> UnlearningData:
    """`data`, which holds only what to forget, with everybody else of the bundled world: to keep, and as
    neighbours; and the general facts that it does not hold itself."""
    world, forget = demo_data(), recognised(data.forget)
    subjects = {row.subject for row in forget if row.subject}
    forgotten = {(row.input.casefold(), row.output.casefold()) for row in forget}
    others = replace(
        world,
        forget=(),
        retain=tuple(row for row in (*world.forget, *world.retain) if row.subject not in subjects),
        general=tuple(row for row in world.general if (row.input.casefold(), row.output.casefold()) not in forgotten),
    )
    return with_others(replace(data, forget=forget, paraphrases=_reworded(forget)), others)


def _recognise(row: Example, people: Sequence[Entity]) -> Example:
    """The row with its subject, where it names one; by the full name where one person is named so."""
    named = [person for person in people if names(row.input, person.name)]
    named = named or [person for person in people if any(names(row.input, part) for part in person.name.split())]
    if len(named) != 1:
        return row
    [person] = named
    asked = [kind for kind, _ in person.facts if any(names(row.input, n) for n in _nouns(kind, person))]
    asked = asked or [kind for kind, answer in person.facts if answer.casefold() == row.output.strip().casefold()]
    topic = asked[0] if asked else row.topic
    return replace(row, subject=person.name, task=person.task, topic=topic, document=row.document or person.name)


def _nouns(kind: str, person: Entity) -> tuple[str, ...]:
    """The world's noun phrases for a fact, and the same with the first or the last name alone."""
    return tuple(noun for name in (person.name, *person.name.split()) for noun in phrasing.nouns_about(kind, name))


def _reworded(rows: Sequence[Example]) -> tuple[Example, ...]:
    """Each row whose topic is the world's own, in the phrasing that no training row uses."""
    return tuple(
        replace(row, input=phrasing.unseen(phrasing.nouns_about(row.topic, row.subject)))
        for row in rows
        if row.topic in phrasing.NOUNS and row.subject
    )
