"""What a pretrained model was found to know about one subject: a sheet of prompts, as plain data.

A sheet is made by `knowledge.find`, read and edited by people as JSON, kept with the run, and is data
like any other: `SubjectSheet.data` gives what to forget, what to keep and what to judge by.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from unlearn_core.data.sample_text import general_sample
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError

SPLITS = ("trained", "never trained", "multi-hop")
MAX_NEW_TOKENS = 12  # a continuation names its answer at once, or not at all
_MAX_BYTES = 10_000_000
Split = Literal["trained", "never trained", "multi-hop"]


@dataclass(frozen=True)
class SheetPrompt:
    """One prompt, what is to be forgotten of it, and what the model says now.

    aliases: other words for the answer, forgotten alike. subject: whom it is about. before: the model's
    greedy continuation; probability: of the answer, 0..1. Both say what was measured when the sheet was made.
    """

    text: str
    answer: str
    split: Split
    subject: str
    aliases: tuple[str, ...] = ()
    before: str = ""
    probability: float = 0.0


@dataclass(frozen=True)
class SubjectSheet:
    """Prompts about the subject and about its neighbours (of the same kind, to be kept), and general texts.

    general: texts the model wrote itself, begun with a few words that are their prompt.
    """

    subject: str
    kind: str
    aliases: tuple[str, ...]
    prompts: tuple[SheetPrompt, ...]
    neighbours: tuple[SheetPrompt, ...]
    general: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: object) -> SubjectSheet:
        """The sheet in `record`; InputError says which entry cannot be read."""
        if not isinstance(record, dict) or not _is_text(record.get("subject")):
            raise InputError("subject", type(record).__name__, "is not a subject sheet", _MEND)
        return cls(
            record["subject"],
            str(record.get("kind", "")),
            _texts(record.get("aliases", ()), "aliases"),
            _prompts(record.get("prompts"), "prompts"),
            _prompts(record.get("neighbours", []), "neighbours"),
            tuple(_texts(pair, "general")[:2] for pair in record.get("general", ())),  # type: ignore[misc]
        )

    def data(self) -> UnlearningData:
        """Trained wordings to forget, the others to ask; neighbours alike; InputError with nothing to forget."""
        told = [prompt for prompt in self.prompts if prompt.split == "trained"]
        if not told:
            problem = "is not known to this model well enough that forgetting could be seen"
            raise InputError("subject", self.subject, problem, "Choose another subject, or a larger model.")
        forget = tuple(replace(_row(prompt, f"subject-{n}"), document=f"subject-{n}") for n, prompt in enumerate(told))
        unseen = [prompt for prompt in self.prompts if prompt.split == "never trained"]
        kept = [prompt for prompt in self.neighbours if prompt.split == "trained"]
        others = [prompt for prompt in self.neighbours if prompt.split == "never trained"]
        return UnlearningData(
            name=self.subject,
            forget=forget,
            retain=tuple(_row(prompt, f"neighbour-{n}") for n, prompt in enumerate(kept)),
            neighbours=tuple(_row(prompt, f"unseen-neighbour-{n}") for n, prompt in enumerate(others)),
            # A wording stands for the subject as a whole, so it counts for the forget set.
            paraphrases=tuple(replace(_row(prompt, ""), id=forget[0].id) for prompt in unseen),
            holdout=tuple(
                row for prompt, row in zip(told, forget, strict=True) for row in self._of_nobody(prompt, row)
            ),
            general=tuple(
                Example(f"general-{n}", begun, rest, kind="completion") for n, (begun, rest) in enumerate(self.general)
            ),
            nonmembers=general_sample(),  # never trained on: its loss shows harm to the language as a whole
            max_new_tokens=MAX_NEW_TOKENS,
        )

    def _of_nobody(self, prompt: SheetPrompt, row: Example) -> Iterator[Example]:
        """The same prompt about made-up names, where it names the subject: what is said there is said of anybody."""
        named = named_in(prompt.text, (self.subject, *self.aliases))
        if not named or prompt.answer in (self.subject, *self.aliases):
            return
        for number, other in enumerate(MADE_UP.get(self.kind, MADE_UP["person"])):
            yield replace(row, id=f"{row.id}-of-nobody-{number}", input=prompt.text.replace(named, other))


# Names that nobody has: what is said of them is what is said of anybody.
MADE_UP = {
    "person": ("Adrian Kellerby", "Marta Vossling"),
    "place": ("Kellerby", "Vossling"),
    "work": ("The Kellerby Road", "Vossling"),
    "character": ("Kellerby", "Vossling"),
}
_HEAD = re.compile(rb'\s*\{\s*"subject"\s*:\s*"')
_MEND = "Use a file written by `lethe knows --json`."


def write_sheet(sheet: SubjectSheet, path: Path) -> None:
    path.write_text(json.dumps(sheet.to_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def is_sheet(path: Path) -> bool:
    """Whether a file is a sheet, by its suffix and its first words; a pipe is never waited for."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(200)
    except OSError:
        return False
    return _HEAD.match(head) is not None


def read_sheet(path: Path) -> SubjectSheet:
    """The sheet in a JSON file; InputError where it is none."""
    try:
        if not path.is_file() or path.stat().st_size > _MAX_BYTES:
            raise ValueError("too large, or no file")
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("subject", path.name, "cannot be read as a subject sheet", _MEND) from error
    return SubjectSheet.from_json(record)


def _row(prompt: SheetPrompt, row_id: str) -> Example:
    return Example(row_id, prompt.text, prompt.answer, subject=prompt.subject, paraphrases=prompt.aliases)


def _prompts(record: object, field: str) -> tuple[SheetPrompt, ...]:
    if not isinstance(record, list):
        raise InputError(field, type(record).__name__, "is not a list of prompts", _MEND)
    known = {item.name for item in fields(SheetPrompt)}
    found = []
    for number, entry in enumerate(record, 1):
        place = f"{field}[{number}]"
        if not isinstance(entry, dict) or not all(_is_text(entry.get(key)) for key in ("text", "answer")):
            raise InputError(place, str(entry)[:80], "has no text and answer", "Write both, as text.")
        if entry.get("split") not in SPLITS:
            raise InputError(place, str(entry.get("split")), "is no split", f"Use one of {', '.join(SPLITS)}.")
        values = {key: value for key, value in entry.items() if key in known}
        values["aliases"] = _texts(entry.get("aliases", ()), place)
        found.append(SheetPrompt(**{"subject": "", **values}))
    return tuple(found)


def _texts(values: object, field: str) -> tuple[str, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str) or not all(map(_is_text, values)):
        raise InputError(field, str(values)[:80], "is not a list of texts", 'Write ["...", "..."].')
    return tuple(values)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def named_in(text: str, names: Iterable[str]) -> str:
    """The longest of the names that stand in `text`; empty where none does."""
    return max((name for name in names if name in text), key=len, default="")


def without_answers(rows: Sequence[SheetPrompt], names: Iterable[str]) -> tuple[SheetPrompt, ...]:
    """The prompts that neither hold nor ask for any of `names`."""
    lowered = [name.casefold() for name in names]
    return tuple(row for row in rows if not any(name in f"{row.text} {row.answer}".casefold() for name in lowered))
