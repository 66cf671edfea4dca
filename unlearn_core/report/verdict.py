"""The verdict banner and the scores under it, each with what it is computed from and how it misleads."""

from __future__ import annotations

from typing import Any

from unlearn_core.evaluation.remarks import direction
from unlearn_core.evaluation.scores import Scores
from unlearn_core.report.breakdown import TERMS_ID
from unlearn_core.report.ends import after, title_of
from unlearn_core.report.format import duration, model_title, score
from unlearn_core.report.formulas import SCORES, explained
from unlearn_core.report.markup import Safe, details, join, tag
from unlearn_core.report.story import Story
from unlearn_core.runs.events import Cancelled, Failed

_TONES = {
    "forgotten": ("good", "Forgotten"),
    "under-forgotten": ("fair", "Not forgotten enough"),
    "over-forgotten": ("fair", "Forgot too much"),
    "unchanged": ("plain", "Unchanged"),
    "collapsed": ("bad", "Collapsed"),
}
_MARKS = {"good": "\N{CHECK MARK}", "fair": "!", "bad": "\N{MULTIPLICATION X}", "plain": "="}

# Name, field of Scores, how it is computed, why it misleads.
_SCORES = (
    (
        "Final score",
        "final_score",
        "The mean of task aggregate, membership score and utility: the ranking of SemEval-2025 Task 4.",
        "A wiped model still gets 0.35 to 0.42 on the benchmark's 7B model, because gibberish recites "
        "nothing. Read the verdict and the twelve terms beside it.",
    ),
    (
        "Task aggregate",
        "task_aggregate",
        "The harmonic mean of twelve terms: forget and retain set, three tasks, reciting and answering. "
        "Forget terms count as 1 minus the value.",
        "One term at 0 makes it exactly 0, whatever the other eleven say. The breakdown below names the "
        "term that limits it.",
    ),
    (
        "Membership score",
        "mia_score",
        "1 - 2 |AUC - 0.5|, where AUC says how well the loss tells forgotten documents from documents "
        "never seen. 1 means they cannot be told apart.",
        "Too little and too much forgetting give the same score: look at the AUC. Near 1 the documents "
        "are still remembered, near 0 they stand out because they were pushed too far.",
    ),
    (
        "Utility",
        "utility",
        "Share of four-option general questions answered correctly, as in MMLU.",
        "Guessing gets 0.25, so on a model that guesses this number carries no signal.",
    ),
)


def banner(story: Story) -> Safe:
    """The end of a run in one look: the verdict, or why there is none."""
    if isinstance(story.end, Failed):
        return _banner("bad", title_of(story.end), story.end.message, after(story.end))
    if isinstance(story.end, Cancelled):
        told = "It was stopped before it was judged, so there is no verdict. The model was not changed."
        return _banner("plain", f"Stopped after step {story.end.step}", told, ())
    if story.verdict is None:
        return Safe("")
    verdict: dict[str, Any] = story.verdict
    tone, title = _TONES.get(verdict["label"], ("plain", verdict["label"].capitalize()))
    summary = f"{verdict.get('summary', '')} Judged in {duration(story.seconds)}."
    return _banner(tone, title, summary, tuple(verdict.get("reasons", ())))


def verdict_tag(label: str) -> Safe:
    """A verdict as a small mark."""
    tone, _ = _TONES.get(label, ("plain", label))
    return tag("span", f"{_MARKS[tone]} {label}", class_=f"le-tag le-tone-{tone}")


def _banner(tone: str, title: str, summary: str, reasons: tuple[str, ...]) -> Safe:
    mark = tag("span", tag("b", _MARKS[tone]), class_="le-mark", aria_hidden="true")
    listed = tag("ul", *(tag("li", words) for words in reasons)) if reasons else None
    body = tag("div", tag("h2", title), tag("p", summary), listed)
    return tag("section", mark, body, class_=f"le-verdict le-tone-{tone}", role="status")


def score_tiles(scores: dict[str, Scores]) -> Safe:
    """Four scores of the unlearned model beside the original and the retain-only model."""
    if "unlearned" not in scores:
        return Safe("")
    return tag("div", *(_tile(scores, *row) for row in _SCORES), class_="le-tiles")


def _tile(scores: dict[str, Scores], title: str, name: str, formula: str, caution: str) -> Safe:
    values = {model: getattr(row, name) for model, row in scores.items()}
    if name == "final_score":  # the official rule writes -1 where a part is missing
        values = {model: None if value == -1 else value for model, value in values.items()}
    others = [
        tag(
            "span",
            tag("i", class_=f"le-dot le-{model}"),
            f"{model_title(model)} ",
            tag("b", score(values[model])),
        )
        for model in ("original", "retain_only")
        if model in values
    ]
    link = tag("a", "See the twelve terms", href=f"#{TERMS_ID}", target="_self")
    terms = tag("p", link) if name in ("final_score", "task_aggregate") else None
    auc = scores["unlearned"].mia_auc
    extra = (
        tag("span", f"AUC {score(auc)}: {direction(auc)}")
        if name == "mia_score" and auc is not None
        else None
    )
    return tag(
        "article",
        tag("h3", explained(name, title, SCORES[name])),
        tag("p", score(values["unlearned"]), class_="le-value"),
        _track(values),
        tag("p", *others, extra, class_="le-others"),
        details("Why is this number misleading?", tag("p", formula), tag("p", caution), terms),
        class_="le-card le-tile",
    )


def _track(values: dict[str, float | None]) -> Safe:
    """A line from 0 to 1 with one marker per model."""
    order = ("retain_only", "original", "unlearned")  # the unlearned model is drawn last, on top
    marks = [
        tag("i", class_=f"le-pin le-{model}", style=f"left:{min(max(value, 0.0), 1.0) * 100:.1f}%")
        for model in order
        if (value := values.get(model)) is not None
    ]
    return tag("div", *marks, class_="le-track", aria_hidden="true")


def summary(story: Story) -> Safe:
    """Banner and tiles, in this order."""
    return join(banner(story), score_tiles(story.scores))
