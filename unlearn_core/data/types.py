"""The data every other room works on: plain frozen records, no tensors.

UnlearningData
  forget, retain            rows to forget and rows to keep (Example)
  members, nonmembers       whole documents for membership inference (str)
  questions                 four-option utility questions (Question)
  paraphrases               forget and retain facts in a phrasing never trained on (Example)
  holdout                   never-trained examples of the same kind, free for a method to calibrate on
  general                   general text and facts that were trained, and must survive (Example)
  neighbours                facts of the same kind about subjects that nobody asked to forget, known to the
                            model and trained on by no method: they tell what else was lost (Example)
  evaluation_sets           rows that a benchmark asks besides, by the name it has for them (Example)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

TASKS = ("Task1", "Task2", "Task3")
Kind = Literal["completion", "question"]


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: the text, the turns of (role, text) that came before it, and the beginning of
    an answer that it is to go on with."""

    text: str
    turns: tuple[tuple[str, str], ...] = ()
    begun: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """One prompt and its gold answer; every field is set by the reader that knows the file's format.

    The first four, `paraphrases`, `wrong` and `turns` are what is asked and answered. The others say how it is
    read: `kind` (a completion is scored by ROUGE-L recall, a question by whether it is answered), `subject`
    whom or what it is about, `topic` which question of its kind it is (rows of one topic have answers of one
    sort), `document` the text it belongs to. They are empty where the data does not say.
    """

    id: str
    input: str
    output: str
    task: str = "Task1"
    kind: Kind = "question"
    subject: str = ""
    topic: str = ""
    document: str = ""
    paraphrases: tuple[str, ...] = ()  # the right answer in other words
    wrong: tuple[str, ...] = ()  # wrong answers of the same sort, as the data brings them
    turns: tuple[tuple[str, str], ...] = ()  # (role, text) of what was said before `input`: system, user, assistant

    @property
    def prompt(self) -> Prompt:
        """What a model is asked for this row."""
        return Prompt(self.input, self.turns)

    @property
    def document_id(self) -> str:
        """The document the row belongs to; a row that names none stands for itself."""
        return self.document or self.id


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
    member_ids: tuple[str, ...] = field(default=(), compare=False)  # as the files name the documents
    nonmember_ids: tuple[str, ...] = field(default=(), compare=False)
    questions: tuple[Question, ...] = ()
    few_shot: tuple[Question, ...] = ()  # solved examples put before each question, per subject
    paraphrases: Sequence[Example] = ()  # ids: "<forget or retain row id>" of the same fact
    holdout: Sequence[Example] = ()
    general: Sequence[Example] = ()
    neighbours: Sequence[Example] = ()
    evaluation_sets: Mapping[str, Sequence[Example]] = field(default_factory=dict, hash=False)
    question_form: Literal["letter", "likelihood"] = "letter"  # how `questions` are scored
    max_new_tokens: int = 256  # the protocol's generation limit; smaller worlds declare their own
    notes: tuple[str, ...] = field(default=(), compare=False)  # shown to the user after loading

    @property
    def fingerprint(self) -> str:
        """SHA-256 over every row's texts, so a score names the data it was computed on."""
        digest = hashlib.sha256()
        for part in self._parts():
            digest.update(part.encode("utf-8", "surrogatepass"))
            digest.update(b"\n")
        return digest.hexdigest()

    def _parts(self) -> Iterator[str]:
        names = ["forget", "retain", "paraphrases", "holdout", "general", "questions", "few_shot"]
        if self.neighbours:  # few data sets have them, and the others keep their fingerprint
            names.append("neighbours")
        for name, rows in (*((name, getattr(self, name)) for name in names), *sorted(self.evaluation_sets.items())):
            yield name
            for row in rows:
                yield json.dumps(_texts(row), sort_keys=True)
        for name in ("members", "nonmembers"):
            yield name
            for document in getattr(self, name):
                yield json.dumps(document)


_LABELS = ("kind", "subject", "topic", "document")  # how a row is read; its texts are the same
_SET = ("paraphrases", "wrong", "turns")  # texts that few rows have


def _texts(row: Example | Question) -> dict[str, object]:
    """What a row holds, without how it is read; fields that few rows have only where they are set."""
    fields = asdict(row)
    if isinstance(row, Question):
        return fields
    return {k: v for k, v in fields.items() if k not in _LABELS and (v or k not in _SET)}
