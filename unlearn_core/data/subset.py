"""A part of a data set, and writing one as files: what `memorise` trained on must be what it is judged by.

The rows of one document share its `document` field; a row without one stands for itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TypeVar

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.system.grouped import grouped

Sampled = TypeVar("Sampled")


def subset_of(data: UnlearningData, num_documents: int) -> UnlearningData:
    """The first `num_documents` documents of each task and split, with all their rows.

    Members are kept where their text is one of those documents; if none is, as many are kept as there
    are forget documents. Nonmembers, questions and general facts stay. As many of the forget documents
    left out become the holdout: never trained, and of the same kind.
    """
    forget, retain = _first(data.forget, num_documents), _first(data.retain, num_documents)
    others = tuple(row for row in data.forget if row not in set(forget))
    texts = {f"{row.input} {row.output}" for row in forget if row.kind == "completion"}
    members = tuple(document for document in data.members if document in texts)
    ids = {row.id for row in (*forget, *retain)}
    return replace(
        data,
        name=f"{data.name}-{num_documents}",
        forget=forget,
        retain=retain,
        members=members or data.members[: len({row.document_id for row in forget})],
        paraphrases=tuple(row for row in data.paraphrases if row.id in ids),
        holdout=data.holdout or _first(others, num_documents),
    )


def even_sample(rows: Sequence[Sampled], size: int) -> list[Sampled]:
    """At most `size` of `rows`, evenly spaced, so that every task and kind stays represented."""
    if len(rows) <= size:
        return list(rows)
    return [rows[i * len(rows) // size] for i in range(size)]


def _key(row: Example) -> tuple[str, str]:
    return row.task, row.document_id


def _first(rows: Sequence[Example], num_documents: int) -> tuple[Example, ...]:
    order = dict.fromkeys(map(_key, rows))
    seen: Counter[str] = Counter()
    kept = set()
    for task, document in order:
        seen[task] += 1
        if seen[task] <= num_documents:
            kept.add((task, document))
    return tuple(row for row in rows if _key(row) in kept)


def some_documents(rows: Sequence[Example], per_task: int) -> tuple[Example, ...]:
    """All rows of at most `per_task` documents of each task, evenly spaced, in their order."""
    chosen = _spread(rows, lambda count: min(count, per_task))
    return tuple(row for row in rows if _key(row) in chosen)


def hold_out(rows: Sequence[Example], most: int = 12) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Rows to train on, and the rows of some whole documents kept aside to judge by.

    A twentieth of the documents of each task, at least one and at most `most`; a task of fewer than five
    documents has none to spare.
    """
    aside = _spread(rows, lambda count: min(most, max(1, int(count * 0.05))) if count >= 5 else 0)
    return (
        tuple(row for row in rows if _key(row) not in aside),
        tuple(row for row in rows if _key(row) in aside),
    )


def _spread(rows: Sequence[Example], wanted: Callable[[int], int]) -> set[tuple[str, str]]:
    """Task and document of evenly spaced documents; `wanted` says how many of a task's documents."""
    by_task = grouped((key[0], key) for key in dict.fromkeys(map(_key, rows)))
    return {key for keys in by_task.values() for key in even_sample(keys, wanted(len(keys)))}


def write_directory(data: UnlearningData, folder: Path) -> None:
    """Write `data` in the organisers' layout, four-option questions in TOFU's, for `load_data` to read."""
    (folder / "mia").mkdir(parents=True, exist_ok=True)
    _write_lines(folder / "forget.jsonl", map(_filled, data.forget))
    _write_lines(folder / "retain.jsonl", map(_filled, data.retain))
    _write_lines(folder / "holdout.jsonl", map(_filled, data.holdout))
    _write_lines(folder / "general.jsonl", (_filled(replace(row, task="")) for row in data.general))  # of no task
    for name, documents in (("member", data.members), ("nonmember", data.nonmembers)):
        lines = [{"id": f"{name}-{i}", "document": document} for i, document in enumerate(documents)]
        _write_lines(folder / "mia" / f"{name}.jsonl", lines)
    questions = [
        {
            "question": question.question,
            "answer": question.choices[question.answer],
            "perturbed_answer": [c for i, c in enumerate(question.choices) if i != question.answer],
        }
        for question in data.questions
    ]
    _write_lines(folder / "world_facts_perturbed.json", questions)
    _write_perturbed(data, folder)


def _write_perturbed(data: UnlearningData, folder: Path) -> None:
    """TOFU's files: answers in other words and wrong ones, and the facts it asks besides."""
    reworded = {row.id: row.input for row in data.paraphrases}
    for split, rows in (("forget", data.forget), ("retain", data.retain)):
        lines = [
            {
                "question": row.input,
                "answer": row.output,
                **({"paraphrased_question": reworded[row.id]} if row.id in reworded else {}),
                **({"paraphrased_answer": row.paraphrases[0]} if row.paraphrases else {}),
                "perturbed_answer": row.wrong,
            }
            for row in rows
            if row.wrong
        ]
        _write_lines(folder / f"{split}_perturbed.json", lines)
    for name, rows in data.evaluation_sets.items():
        lines = [{"question": row.input, "answer": row.output, "perturbed_answer": row.wrong} for row in rows]
        _write_lines(folder / f"{name}_perturbed.json", lines)


def _filled(row: Example) -> dict[str, object]:
    return {name: value for name, value in asdict(row).items() if value}


def _write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """A file of rows; none without any, since no reader takes an empty one."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    if lines:
        path.write_text(lines)
