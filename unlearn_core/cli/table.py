"""The scorecard as plain text: what the run's JSON holds, for eyes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.protocols.semeval import listed_record
from unlearn_core.evaluation.remarks import remarks
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import Verdict
from unlearn_core.report.run.layer_table import figures

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.evaluation.verdict.types import VerdictJson

_MODELS = (("original", "original"), ("unlearned", "unlearned"), ("retain_only", "retain-only"))


def scorecard(scores: Mapping[str, ScoresJson], verdict: VerdictJson | None = None) -> str:
    """The terms and what is made of them, one column per model; then the verdict's sentence.

    SemEval's terms are plain means: a forget term of 1 means nothing was forgotten, 0 that all was.
    """
    results = {title: listed_record(scores[key]) for key, title in _MODELS if key in scores}
    values = {title: {term.name: term.value for term in result.terms} for title, result in results.items()}
    terms = next(iter(results.values())).terms if results else ()
    rows: list[list[str]] = [["", *results]]
    rows += [[term.name, *(_number(values[title].get(term.name)) for title in results)] for term in terms if term.split]
    totals = [term for term in terms if not term.split]
    if totals:
        rows.append([])
    rows += [[term.title, *(_number(values[title].get(term.name)) for title in results)] for term in totals]
    parts = [table(rows)]
    if verdict:
        parts.append(judged(verdict))
    return "\n".join(["", *parts])


def judged(verdict: VerdictJson) -> str:
    """The headline, the layers as a table, and the reasons."""
    found = Verdict.from_json(verdict)
    parts = [textwrap.fill(f"Verdict: {found.word}. {found.headline}. {found.summary}".rstrip(), 100)]
    if found.layers:
        rows = [["layer", "state", "value", "95 %", "of", "before", "retain-only"], []]
        named = [("membership AUC" if layer.name == "membership" else layer.name, layer) for layer in found.layers]
        rows += [[name, layer.state, *(figure or "-" for figure in figures(layer))] for name, layer in named]
        parts += ["", table(rows), ""]
    return "\n".join([*parts, *(_indented("  - ", reason) for reason in found.reasons)])


def judgement(verdict: VerdictJson | None, scores: Scores, original: Scores | None = None) -> str:
    """The verdict with its reasons, then what the numbers hide; an exclamation mark asks for care."""
    parts = []
    if verdict is not None:
        parts.append(judged(verdict))
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


def number_or_dash(value: float | None, digits: int = 3) -> str:
    """A number of a table, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2e}"
