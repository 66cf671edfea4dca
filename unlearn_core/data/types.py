"""The data every other room works on: plain frozen records, no tensors.

UnlearningData
  forget, retain            rows to forget and rows to keep (Example)
  members, nonmembers       whole documents for membership inference (str)
  questions                 four-option utility questions (Question)
  paraphrases               forget and retain facts in a phrasing never trained on (Example)
  holdout                   never-trained examples of the same kind, free for a method to calibrate on
  general                   general text and facts that were trained, and must survive (Example)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

TASKS = ("Task1", "Task2", "Task3")
Kind = Literal["completion", "question"]


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its gold answer.

    `id` ends, as in LUME, with `sc` + digit for a sentence completion and `qa` + digit for a question;
    its last character is dropped before the type is read (the official rule).
    """

    id: str
    input: str
    output: str
    task: str = "Task1"

    @property
    def kind(self) -> Kind:
        """Sentence completions end in `sc`; everything else is asked as a question."""
        return "completion" if self.id[:-1].endswith("sc") else "question"


@dataclass(frozen=True, slots=True)
class Question:
    """A four-option question in MMLU form; `answer` indexes `choices`."""

    id: str
    question: str
    choices: tuple[str, str, str, str]
    answer: int
    subject: str = "general"


@dataclass(frozen=True)
class UnlearningData:
    """Everything a run needs to know about what to forget and how to judge it."""

    name: str
    forget: Sequence[Example]
    retain: Sequence[Example] = ()
    members: tuple[str, ...] = ()
    nonmembers: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    few_shot: tuple[Question, ...] = ()  # solved examples put before each question, per subject
    paraphrases: Sequence[Example] = ()  # ids: "<forget or retain row id>" of the same fact
    holdout: Sequence[Example] = ()
    general: Sequence[Example] = ()
    question_form: Literal["letter", "likelihood"] = "letter"  # how `questions` are scored
    max_new_tokens: int = 256  # the protocol's generation limit; smaller worlds declare their own
    notes: tuple[str, ...] = field(default=(), compare=False)  # shown to the user after loading

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every row, so a score names the data it was computed on."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(part.encode("utf-8", "surrogatepass"))
            digest.update(b"\n")
        return digest.hexdigest()

    def _parts(self) -> Iterator[str]:
        for name in ("forget", "retain", "paraphrases", "holdout", "general", "questions", "few_shot"):
            yield name
            for row in getattr(self, name):
                yield json.dumps(asdict(row), sort_keys=True)
        for name in ("members", "nonmembers"):
            yield name
            for document in getattr(self, name):
                yield json.dumps(document)
