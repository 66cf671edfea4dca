"""Beside the number: what the scores hide, with the reference lines of the leaderboard."""

from __future__ import annotations

from unlearn_core.evaluation.protocols.references.published import LEADERBOARD, WIPED, PublishedEntry
from unlearn_core.evaluation.protocols.semeval import in_words
from unlearn_core.evaluation.remarks import Remark, remarks
from unlearn_core.evaluation.scores import Scores
from unlearn_core.report.kit.bars import pin, track
from unlearn_core.report.kit.format import score
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.table import scrolled, table

_HEAD = ("Model", "Entry", "Final", "Task aggregate", "MIA score", "MMLU", "Note")


def beside(scores: dict[str, Scores]) -> Safe:
    """One line per remark on the unlearned model, the membership one drawn; leaderboard folded below."""
    unlearned = scores.get("unlearned")
    if unlearned is None:
        return Safe("")
    found = remarks(unlearned, scores.get("original"))
    lines = [_line(remark, unlearned) for remark in found]
    return tag(
        "div",
        tag("h3", "What the numbers hide"),
        tag("dl", *lines, class_="le-remarks"),
        details("Where others stand", leaderboard()) if unlearned.benchmark is None else None,
        class_="le-card le-beside",
    )


def _line(remark: Remark, scores: Scores) -> Safe:
    mark = tag("span", "!", class_="le-tag le-limit", title="Read with care") if remark.caution else None
    drawn = _membership_track(scores) if remark.topic == "Membership" else None
    return join(tag("dt", remark.topic, " ", mark), tag("dd", drawn, in_words(remark.text)))


def _membership_track(scores: Scores) -> Safe:
    """The AUC from 0 to 1: where perfect forgetting lies, the bootstrap interval, the value."""
    bands, interval = scores.details.perfect_forgetting, scores.details.auc_interval
    marks = []
    if bands:
        marks.append(_span("le-band", bands.auc.low, bands.auc.high))
    if interval:
        marks.append(_span("le-interval", *interval))
    if scores.mia_auc is not None:
        marks.append(pin("unlearned", scores.mia_auc))
    return track(*marks)


def _span(name: str, low: float, high: float) -> Safe:
    return tag("i", class_=name, style=f"left:{low * 100:.1f}%;width:{(high - low) * 100:.1f}%")


def leaderboard() -> Safe:
    """Published entries on the benchmark's own models, best first, with the two that need no unlearning."""
    told = (
        "SemEval-2025 Task 4, on the benchmark's own OLMo models. Whatever wipes the model scores "
        f"{WIPED[0]} to {WIPED[1]} there. Scores on other models or other data cannot be compared with these."
    )
    rows = map(_entry, sorted(LEADERBOARD, key=lambda e: (e.model != "7B", -e.final)))
    return join(tag("p", told), scrolled(table(_HEAD, rows, numbers=range(2, 6), titled=False), "Published entries"))


def _entry(entry: PublishedEntry) -> list[str]:
    numbers = (entry.final, entry.task_aggregate, entry.mia_score, entry.mmlu)
    return [entry.model, entry.name, *(score(value, 3) for value in numbers), entry.note]
