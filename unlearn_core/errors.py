"""The few errors meant for people. Everything else that is raised is a bug.

Each says which field was wrong, what it held, and what to do about it; the page shows the message,
the command line prints it and exits with code 2, and no traceback reaches a user.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# What an access token looks like: the Hub's, GitHub's, and the usual form of an API key.
_TOKEN = re.compile(r"\b(?:hf_|gh[opsu]_|github_pat_|sk-)[A-Za-z0-9_-]{16,}")


def without_secrets(text: str) -> str:
    """`text` without anything that looks like an access token: some get into messages of libraries."""
    return _TOKEN.sub("(secret)", text)


def clip(value: object, limit: int = 120) -> str:
    """A short, printable form of any value for use inside a message."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    text = without_secrets(text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def first_line(error: Exception) -> str:
    """What a library's error says, or else its kind, in a line for use inside a message."""
    return clip((str(error) or type(error).__name__).splitlines()[0], 200)


# What a page can do by itself to mend an error: the field of a run's form and what to put into it, or "tab" and a name.
Action = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row of a file as it is shown, shortened: its place, and its text in three parts, the second one wrong."""

    place: str
    before: str
    marked: str
    after: str
    wrong: bool


def in_plain_text(rows: Sequence[ShownRow]) -> str:
    """Rows for a terminal: the wrong one begins with >, what is wrong in it is underlined."""
    width = max((len(row.place) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"{'>' if row.wrong else ' '} {row.place:>{width}} | {row.before}{row.marked}{row.after}")
        if row.marked:
            lines.append(f"  {'':>{width}} | {' ' * len(row.before)}{'^' * len(row.marked)}")
    return "\n".join(lines)


class LetheError(Exception):
    """An error meant for people: `field` had `value`, which is a `problem`; `mend` says what to do, and `action` does
    it where the page can."""

    def __init__(self, field: str, value: object, problem: str, mend: str, action: Action | None = None) -> None:
        self.field, self.value, self.problem, self.mend = field, clip(value), without_secrets(problem), mend
        self.action = action
        self.rows: tuple[ShownRow, ...] = ()  # of a file: the wrong one between its neighbours
        super().__init__(str(self))

    def __str__(self) -> str:
        return f"{self.field} ({self.value}): {self.problem}. {self.mend}"

    @property
    def sentence(self) -> str:
        """The same for whoever reads a page: "Learning rate 7 is out of range. Use 0 to 1." A place in a file is
        written as it is: "rows.jsonl line 2, output: 5 is a number, not text. ..." """
        name = self.field.strip("-").replace("_", " ")
        if "." in self.field:
            return f"{self.field}: {self.value} {self.problem}. {self.mend}".replace("  ", " ")
        return f"{name[:1].upper()}{name[1:]} {self.value} {self.problem}. {self.mend}".replace("  ", " ")

    def __reduce__(self) -> tuple[type[LetheError], tuple[object, ...], dict[str, object]]:
        given = (self.field, self.value, self.problem, self.mend, self.action)
        # A kind that is made in a way of its own comes back as the one it is a kind of.
        kind = next((cls for cls in type(self).__mro__ if "__init__" not in vars(cls)), LetheError)
        return kind, given, {"rows": self.rows}


def is_panic(error: BaseException) -> bool:
    """Whether a library written in Rust gave up, a tokenizer for example: its panics are no Exceptions."""
    return type(error).__name__ == "PanicException"


class InputError(LetheError):
    """What the user gave cannot be used: a file, a parameter, a name."""


def too_long(field: str, text: str, most: int) -> InputError:
    """For text of more than `most` characters."""
    return InputError(field, clip(text, 40), f"is too long ({len(text):,} characters)", f"Use at most {most:,}.")


class ResourceError(LetheError):
    """The machine lacks something: disk space, memory, a device, a network."""


class DivergedError(LetheError):
    """Training left the finite numbers; the last good weights are kept."""


class IntegrityError(LetheError):
    """Something stored does not match its hash, or is incomplete."""
