"""RWKU's files (arXiv 2406.10890; Hub data set `jinzhuoran/RWKU`): a person a model knows, and no corpus.

    forget_level1..3 neighbor_level1..2      query, answer, level, type, subject
    mia_forget mia_retain                    text, subject
    utility_fluency                          instruction
    the other utility sets                   see `data.benchmarks.rwku_utility`

A configuration is a folder or a file of that name. Without a forget set of its own, a subject's question probes
stand for it, so that there is something to show before a run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from unlearn_core.data.benchmarks.rwku_utility import UTILITY, utility_example
from unlearn_core.data.rows.reader import Limits, Row, read_rows, stem_of
from unlearn_core.data.rows.texts import text_in
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError, clip

PROBES = ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2")
TEXTS = ("mia_forget", "mia_retain")
_CONFIGS = (*PROBES, *TEXTS, *UTILITY, "utility_fluency")


def is_rwku(files: Sequence[Path]) -> bool:
    """Whether a folder is laid out as RWKU is."""
    return any(_config(path) in PROBES[:3] for path in files)


def read_rwku(folder: Path, files: Sequence[Path], limits: Limits, part: str) -> UnlearningData:
    """RWKU's rows, of every subject or of the one that `part` names."""
    sets: dict[str, list[Example]] = {}
    subjects: set[str] = set()
    for path in files:
        config = _config(path)
        for row in read_rows(path, limits) if config in _CONFIGS else ():
            found = _example(row, config, len(sets.get(config, ())))
            subjects.add(found.subject)
            if not part or not found.subject or _plain(found.subject) == _plain(part):
                sets.setdefault(config, []).append(found)
    if part and _plain(part) not in map(_plain, subjects):
        there = clip(", ".join(sorted(filter(None, subjects))), 100)
        raise InputError("data", part, "is not a subject of this data", f"There is: {there}.")
    forget = tuple(sets.get("forget_level2") or sets.get("forget_level1") or sets.get("forget_level3") or ())
    return UnlearningData(
        name=f"{folder.name}{':' + part if part else ''}",
        forget=forget,
        evaluation_sets={name: tuple(rows) for name, rows in sets.items()},
        max_new_tokens=30,
    )


def _config(path: Path) -> str:
    return path.parent.name if path.parent.name in _CONFIGS else stem_of(path)


def _example(row: Row, config: str, number: int) -> Example:
    if config in UTILITY:
        return utility_example(row, config, number)
    subject = str(row.fields.get("subject") or "")
    identity = f"{config}-{number + 1}"
    if config in TEXTS:
        return Example(identity, "", text_in(row, "text"), kind="completion", subject=subject)
    if config == "utility_fluency":
        return Example(identity, text_in(row, "instruction"), "", subject=subject)
    topic = str(row.fields.get("type") or "")
    return Example(identity, text_in(row, "query"), text_in(row, "answer"), subject=subject, topic=topic)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", " ", name).strip().lower()
