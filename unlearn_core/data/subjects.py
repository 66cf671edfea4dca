"""Whom or what a data set is about: its subjects, the rows of one alone, and the neighbours beside it.

Where the data does not say whom a row is about, it is the name that the prompt holds: two capitalised words or
more in a row. To forget one subject of many is to keep all others; those asked about in nearly the same words
are the first that go with it, so some of them become the neighbours: never trained on, scored before and after.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError, clip
from unlearn_core.system.grouped import grouped

NUM_NEIGHBOURS = 40  # questions about neighbours; a share of their groups, where there are few
LEAST_MEMBERS = 10  # documents; the losses of fewer say nothing about membership
MAX_TEMPLATES = 50  # prompts of the forget set that others are compared with
_NAME = re.compile(r"[^\W\d_a-z][\w'\u2019-]*(?: [^\W\d_a-z][\w'\u2019-]*)+")
_OPENING = re.compile(r"^\W*\w+ ")  # the first word has a capital letter whatever it is


@dataclass(frozen=True, slots=True)
class Subject:
    """One subject of a data set, and how many questions it has."""

    name: str
    num_facts: int

    @property
    def title(self) -> str:
        return f"{self.name}: {self.num_facts} fact{'' if self.num_facts == 1 else 's'}"


def subject_of(row: Example) -> str:
    """Whom a row is about: as the data says, else the name in its prompt, else nobody ("")."""
    if row.subject:
        return row.subject
    opening = _OPENING.match(row.input)
    found = _NAME.search(row.input, opening.end() if opening else 0) or _NAME.search(row.input)
    return re.sub(r"['\u2019]s$", "", found.group()) if found else ""


def subjects_of(data: UnlearningData) -> tuple[Subject, ...]:
    """Every subject of the forget and the retain set by name; a row that asks nothing counts as no fact."""
    facts: Counter[str] = Counter()
    for row in (*data.forget, *data.retain):
        name = subject_of(row)
        if name:
            facts[name] += row.kind == "question"
    return tuple(Subject(name, facts[name]) for name in sorted(facts))


def take_subject(data: UnlearningData, name: str) -> UnlearningData:
    """The data with the rows of one subject to forget, and all the others to keep.

    A part of a subject's name is enough where no other subject's has it. Rows that do not say whom they are
    about are taken where their prompt holds the name. Raises InputError where no row is about `name`, or it names
    several.
    """
    rows = (*data.forget, *data.retain)
    own = [row for row in rows if subject_of(row).casefold() == name.strip().casefold()]
    if not own:
        meant = sorted({whole for row in rows if names(whole := subject_of(row), name)})
        if len(meant) > 1:
            mend = f"Give one of them whole: {', '.join(meant[:5])}."
            raise InputError("subject", clip(name, 60), f"is part of {len(meant)} subjects' names", mend)
        own = [row for row in rows if subject_of(row) in meant]
        own = own or [row for row in rows if not row.subject and names(row.input, name)]
    if not own:
        known = [subject.name for subject in subjects_of(data)]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:3]
        mend = f"It has {len(known)} subjects, for example {', '.join(near)}." if known else "Its rows name none."
        raise InputError("subject", clip(name, 60), "is not in this data", mend)
    title = subject_of(own[0]) or name.strip()
    chosen = set(own)
    left = [row for row in rows if row not in chosen and not names(row.input, title)]
    alone = replace(data, name=f"{data.name}, {title}", forget=tuple(own), retain=())
    return with_others(alone, replace(data, forget=(), retain=tuple(left)))


def with_others(data: UnlearningData, others: UnlearningData) -> UnlearningData:
    """`data` with the rows of `others` to keep: some as neighbours, the rest to train on, and what judges both.

    Whole subjects go one way or the other. Membership is not asked of a few documents.
    """
    neighbours, retain = split_neighbours(data.forget, (*others.retain, *others.forget))
    asked = {row.id for row in (*data.forget, *neighbours)}
    texts = {f"{row.input} {row.output}" for row in data.forget if row.kind == "completion"}
    members = tuple(document for document in others.members if document in texts)
    return replace(
        data,
        retain=retain,
        neighbours=neighbours,
        members=members if len(members) >= LEAST_MEMBERS else (),
        nonmembers=others.nonmembers,
        questions=others.questions,
        few_shot=others.few_shot,
        question_form=others.question_form,
        paraphrases=tuple(row for row in (*data.paraphrases, *others.paraphrases) if row.id in asked),
        holdout=others.holdout,
        general=others.general,
        max_new_tokens=max(data.max_new_tokens, others.max_new_tokens),
    )


def split_neighbours(
    forget: Sequence[Example], others: Sequence[Example]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(neighbours, the rest): every second of the subjects nearest in form, until they have NUM_NEIGHBOURS
    questions, and never more than a third of all subjects."""
    groups = grouped((subject_of(row) or row.document_id, row) for row in others)
    templates = list(dict.fromkeys(map(template, forget)))[:MAX_TEMPLATES]
    nearness = {name: max(_alike(template(row), templates) for row in rows) for name, rows in groups.items()}
    ranked = sorted(groups, key=lambda name: -nearness[name])
    chosen: set[str] = set()
    questions = 0
    for name in ranked[::2]:
        if questions >= NUM_NEIGHBOURS or len(chosen) >= len(groups) // 3:
            break
        chosen.add(name)
        questions += sum(row.kind == "question" for row in groups[name])
    near = tuple(row for name, rows in groups.items() if name in chosen for row in rows)
    return near, tuple(row for name, rows in groups.items() if name not in chosen for row in rows)


def names(text: str, name: str) -> bool:
    """Whether `text` holds `name` as whole words, however they are capitalised."""
    return re.search(rf"(?<!\w){re.escape(name.strip())}(?!\w)", text, re.IGNORECASE) is not None


def template(row: Example) -> frozenset[str]:
    """The words of a prompt without those of its subject: rows of one template ask the same of others."""
    return frozenset(re.findall(r"\w+", row.input.casefold())) - set(re.findall(r"\w+", subject_of(row).casefold()))


def _alike(words: frozenset[str], templates: Iterable[frozenset[str]]) -> float:
    """The largest share of words in common with one of the templates (Jaccard)."""
    return max((len(words & other) / max(1, len(words | other)) for other in templates), default=0.0)
