"""The subjects that ship with Lethe: prompts about well-known people, places, works and characters.

Written by hand; which of them a model knows is measured, never assumed (`find`). What `smollm2` was measured to
tell stands in `smollm2.json` beside the list.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from unlearn_core.system.assets import assets_directory

KINDS = ("person", "place", "work", "character")


@dataclass(frozen=True)
class ListedSubject:
    """A subject with prompts as (text, answer); an answer that is the subject's own name is "".

    multi_hop: prompts that name it only by way of something else.
    """

    name: str
    kind: str
    field: str
    aliases: tuple[str, ...]
    prompts: tuple[tuple[str, str], ...]
    multi_hop: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All that it is called, its own name first."""
        return (self.name, *self.aliases)


@cache
def listed_subjects() -> tuple[ListedSubject, ...]:
    """Every subject of `assets/subjects/subjects.json`."""
    record = json.loads((assets_directory() / "subjects" / "subjects.json").read_text(encoding="utf-8"))
    return tuple(
        ListedSubject(
            entry["name"],
            entry["kind"],
            entry["field"],
            tuple(entry["aliases"]),
            tuple((prompt["text"], prompt.get("answer", "")) for prompt in entry["prompts"]),
            tuple(entry.get("multi_hop", ())),
        )
        for entry in record
    )


def listed_subject(name: str) -> ListedSubject | None:
    """The listed subject of that name or alias, whatever the case; None where there is none."""
    wanted = name.casefold().strip()
    by_name = {called.casefold(): entry for entry in reversed(listed_subjects()) for called in entry.aliases}
    by_name |= {entry.name.casefold(): entry for entry in listed_subjects()}
    return by_name.get(wanted)


@cache
def told_by_smollm2() -> dict[str, tuple[int, int]]:
    """By subject, how many of its listed prompts `smollm2` answers and how many were asked; measured once, as the
    file says."""
    record = json.loads((assets_directory() / "subjects" / "smollm2.json").read_text(encoding="utf-8"))
    return {name: (len(entry["told"]), entry["asked"]) for name, entry in record["subjects"].items()}
