"""MUSE's files (arXiv 2407.06460; Hub data sets `muse-bench/MUSE-News`, `muse-bench/MUSE-Books`).

    raw/{forget, retain1, retain2, holdout}                     text: what to forget, to train along, to keep aside
    verbmem/forget                                              prompt, gt
    knowmem/{forget_qa, retain_qa, forget_qa_icl, retain_qa_icl}   question, answer
    privleak/{forget, retain, holdout}                          text
    scal/forget_1..4, sust/forget_1..4                          text: growing forget sets; one request after another

Whole texts become rows of a length that a model can be trained on: each goes on from the words before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from unlearn_core.data.rows.mapped import kept
from unlearn_core.data.rows.reader import Limits, Row, read_rows, stem_of
from unlearn_core.data.rows.texts import text
from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.system.grouped import grouped

CONFIGS = ("raw", "verbmem", "knowmem", "privleak", "scal", "sust", "train")
_PIECE, _LEAD = 1600, 200  # characters of a row, and of the part of it that is its prompt
_PARTS = re.compile(r"(scal|sust)[_-](?:forget_)?([1-4])")


def is_muse(files: Sequence[Path]) -> bool:
    """Whether a folder is laid out as MUSE is."""
    return {"verbmem", "knowmem"} <= {path.parent.name for path in files}


def folds(folder: Path) -> list[str]:
    """The folds in a folder laid out as MUSE is, as `part` names them: "scal_1" and so on; none elsewhere."""
    paths = sorted(folder.rglob("*")) if folder.is_dir() else ()
    found = (f"{path.parent.name}_{stem_of(path).removeprefix('forget_')}" for path in paths)
    return list(dict.fromkeys(name for name in found if _PARTS.fullmatch(name)))


def read_muse(folder: Path, files: Sequence[Path], limits: Limits, part: str) -> UnlearningData:
    """MUSE's rows; `part` names a fold, like "scal_2" or "sust_1", to forget in place of the whole set."""
    found = grouped(((path.parent.name, stem_of(path)), path) for path in files if path.parent.name in CONFIGS)

    def rows(config: str, *names: str) -> list[Row]:
        """Of the first of these files that is there."""
        paths = next((found[config, name] for name in names if (config, name) in found), ())
        return [row for path in paths for row in read_rows(path, limits)]

    fold = ("raw", "forget")
    if part:
        match = _PARTS.fullmatch(part)
        fold = (match[1], f"forget_{match[2]}") if match else ("", "")
        if fold not in found:
            there = ", ".join(f"{c}_{s[-1]}" for c, s in sorted(found) if c in ("scal", "sust")) or "none"
            raise InputError("data", part, "is not a fold of this data", f"There is: {there}.")
    pairs = {
        "verbmem": _pairs(rows("verbmem", "forget"), "verbmem", "prompt", "gt"),
        "knowmem_forget": _pairs(rows("knowmem", "forget_qa"), "knowmem-forget"),
        "knowmem_retain": _pairs(rows("knowmem", "retain_qa", "retain2_qa"), "knowmem-retain"),
        "knowmem_forget_shots": _pairs(rows("knowmem", "forget_qa_icl"), "shot-forget"),
        "knowmem_retain_shots": _pairs(rows("knowmem", "retain_qa_icl", "retain2_qa_icl"), "shot-retain"),
    }
    members, nonmembers = (
        tuple(text(row, "document", {"document": "text"}) for row in rows("privleak", side))
        for side in ("forget", "holdout")
    )
    forget = kept(_pieces(rows(*fold), "forget"))
    if not forget:  # an evaluation needs no corpus; the passages asked for are what there is to forget
        forget = tuple(replace(row, kind="completion") for row in pairs["verbmem"])
    return UnlearningData(
        name=f"{folder.name}{':' + part if part else ''}",
        forget=forget,
        retain=kept(_pieces(rows("raw", "retain1"), "retain")),
        members=members,
        nonmembers=nonmembers,
        evaluation_sets={name: found for name, found in pairs.items() if found},
        max_new_tokens=128,
    )


def _pieces(rows: Sequence[Row], split: str) -> Iterator[Example]:
    for number, row in enumerate(rows, start=1):
        whole = replace(row, limits=replace(row.limits, max_chars=row.limits.max_bytes))
        words = text(whole, "document", {"document": "text"})
        for place, start in enumerate(range(0, max(1, len(words) - _LEAD), _PIECE - _LEAD)):
            piece = words[start : start + _PIECE]
            lead = piece[:_LEAD].rpartition(" ")[0] or piece[: len(piece) // 2]
            if lead.strip() and piece[len(lead) :].strip():
                name = f"{split}-{number}"
                yield Example(f"{name}.{place}", lead, piece[len(lead) :], kind="completion", document=name)


def _pairs(rows: Sequence[Row], prefix: str, ask: str = "question", answer: str = "answer") -> tuple[Example, ...]:
    return tuple(
        Example(
            f"{prefix}-{number}",
            text(row, "input", {"input": ask}),
            text(row, "output", {"output": answer}),
            kind="completion" if ask == "prompt" else "question",
        )
        for number, row in enumerate(rows, start=1)
    )
