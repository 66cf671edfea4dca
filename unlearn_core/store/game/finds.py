"""What players of "Recover it" got out of a run's model, in the run's folder: one line for each find.

Together they are one row among the run's audits, and its verdict counts them (see `store.verdicts`).
"""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.evaluation.verdict.forget_layers import PLAYERS
from unlearn_core.system.files import append_line, disk_errors, json_lines, mend_torn_line, read_lines

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson

FILE, TITLE = "finds.jsonl", "Found by players"
MAX_FINDS = 200  # of a run
_LOCK = threading.Lock()


@dataclass(frozen=True, slots=True)
class Find:
    """One fact that was got out: the question that was trained and its answer, what was asked and said in the end
    and how, in how many questions, what the control was, and of which weights."""

    question: str
    answer: str
    asked: str
    said: str
    way: str  # in words | in a conversation | its answer begun | relearned
    questions: int
    control: str
    weights_hash: str

    @property
    def by_words(self) -> bool:
        return self.way in BY_WORDS


BY_WORDS = ("in words", "in a conversation")
BEGUN, RELEARNED = "its answer begun", "relearned"


def note_find(folder: Path, find: Find) -> None:
    """Write a find down in the run's folder; beyond `MAX_FINDS` no more are kept."""
    path = folder / FILE
    with _LOCK, disk_errors(path):
        mend_torn_line(path)
        if len(read_lines(path)[0]) < MAX_FINDS:
            append_line(path, json.dumps(asdict(find)))


def read_finds(folder: Path) -> list[Find]:
    """Every find, oldest first. A damaged line is left out."""
    found = []
    for record in json_lines(folder / FILE):
        with contextlib.suppress(TypeError):  # written by somebody else
            find = Find(**record)
            if all(isinstance(getattr(find, f.name), int if f.name == "questions" else str) for f in fields(Find)):
                found.append(find)
    return found


def played(folder: Path, weights_hash: str = "") -> AuditJson | None:
    """The finds as an AuditResult in JSON, each fact once, by its shortest game; None without any. Those of one set
    of weights, without a hash those of the newest find."""
    found = read_finds(folder)
    wanted = weights_hash or (found[-1].weights_hash if found else "")
    best: dict[str, Find] = {}
    for find in sorted(found, key=lambda find: (not find.by_words, find.questions)):
        if find.weights_hash == wanted:
            best.setdefault(find.question, find)
    facts = list(best.values())
    if not facts:
        return None
    fewest = min(find.questions for find in facts)
    told = "1 fact was" if len(facts) == 1 else f"{len(facts)} facts were"
    questions = "1 question" if fewest == 1 else f"{fewest} questions"
    return {
        "name": PLAYERS,
        "title": TITLE,
        "verdict": "leaks",
        "headline": f"{told} got out in the game Recover it, in {questions} at the fewest. {facts[0].control}",
        "figures": {"facts": len(facts), "by_words": sum(find.by_words for find in facts)},
        "rows": [
            {"way": find.way, "questions": find.questions, "prompt": find.asked, "said": find.said[:300]}
            for find in facts
        ],
        "seconds": 0.0,
    }
