"""The scorecard as plain text: what the run's JSON holds, for eyes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_core.evaluation.remarks import remarks
from unlearn_core.evaluation.scores import TERM_NAMES, Scores

_MODELS = (("original", "original"), ("unlearned", "unlearned"), ("retain_only", "retain-only"))
_TOTALS = (
    ("task_aggregate", "task aggregate"),
    ("mia_auc", "MIA AUC"),
    ("mia_score", "MIA score"),
    ("utility", "utility"),
    ("final_score", "final score"),
)


def scorecard(scores: Mapping[str, Mapping[str, Any]], verdict: Mapping[str, Any] | None = None) -> str:
    """The twelve terms and what is made of them, one column per model; then the verdict's sentence.

    Terms are plain means: a forget term of 1 means nothing was forgotten, 0 that all was.
    """
    shown = [(key, title) for key, title in _MODELS if key in scores]
    rows: list[list[str]] = [["", *(title for _, title in shown)]]
    for term in TERM_NAMES:
        rows.append([term, *(_number(scores[key]["terms"].get(term)) for key, _ in shown)])
    rows.append([])
    for key, title in _TOTALS:
        rows.append([title, *(_number(scores[model].get(key)) for model, _ in shown)])
    parts = [table(rows)]
    if verdict:
        parts.append(textwrap.fill(f"Verdict: {verdict['label']}. {verdict['summary']}", 100))
        parts += [_indented("  - ", reason) for reason in verdict.get("reasons", ())]
    return "\n".join(["", *parts])


def judgement(verdict: Mapping[str, Any] | None, scores: Scores, original: Scores | None = None) -> str:
    """The verdict with its reasons, then what the numbers hide; an exclamation mark asks for care."""
    parts = []
    if verdict is not None:
        parts.append(textwrap.fill(f"Verdict: {verdict['label']}. {verdict['summary']}", 100))
        parts += [_indented("  - ", reason) for reason in verdict.get("reasons", ())]
    for remark in remarks(scores, original):
        parts.append(_indented("  ! " if remark.caution else "  - ", f"{remark.topic}: {remark.text}"))
    return "\n".join(parts)


def _indented(start: str, words: str) -> str:
    return textwrap.fill(words, 100, initial_indent=start, subsequent_indent="    ")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned: the first to the left, the others to the right; an empty row is a rule."""
    widths = [0] * max(len(row) for row in rows)
    for row in rows:
        for place, cell in enumerate(row):
            widths[place] = max(widths[place], len(cell))
    lines = []
    for row in rows:
        if not row:
            lines.append("-" * (sum(widths) + 2 * (len(widths) - 1)))
            continue
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
