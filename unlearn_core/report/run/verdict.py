"""The verdict banner and the scores under it, each with what it is computed from and how it misleads."""

from __future__ import annotations

from collections.abc import Mapping

from unlearn_core.evaluation.protocols.base import Result, Term
from unlearn_core.evaluation.protocols.semeval import in_words, listed
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import Verdict
from unlearn_core.report.kit.bars import pin, track
from unlearn_core.report.kit.format import capitalised, model_title, score
from unlearn_core.report.kit.markup import Safe, coded, details, explained, join, tag
from unlearn_core.report.run.breakdown import TERMS_ID
from unlearn_core.report.run.layer_table import layer_table
from unlearn_core.report.run.live.progress import notices
from unlearn_core.runs.events import Cancelled, Failed
from unlearn_core.runs.state import RunState
from unlearn_core.system.units import MISSING, duration

_UNHARMED = "the model and all finished runs are as they were; nothing half-written was kept."
# By kind of failure: title, what is safe, what to do next.
_TOLD = {
    "interrupted": (
        "This run was interrupted",
        "all finished runs, and what this run had trained up to its last checkpoint.",
        "press Resume this run below, if you started it: it ends with the scores it would have had.",
    ),
    "disk_full": (
        "There was no room on the disk",
        "all finished runs, and what this run had trained up to its last checkpoint.",
        "delete runs you no longer need on the Runs tab, or tell whoever runs this server; then resume this run.",
    ),
    "out_of_memory": (
        "The memory was not enough",
        _UNHARMED,
        "lower Batch size under Method settings, or choose the adapter lora; then start again.",
    ),
    "diverged": (
        "The training broke down",
        "the model is as it was; the curves show the step at which the numbers left all bounds.",
        "lower Learning rate under Method settings, or take fewer steps; then start again.",
    ),
}
_OTHER = ("This run could not finish", _UNHARMED, "")
_TONES = {
    "forgotten": "good",
    "answers gone": "open",  # nobody has attacked it yet
    "traces remain": "fair",
    "under-forgotten": "fair",
    "over-forgotten": "fair",
    "unchanged": "plain",
    "collapsed": "bad",
}
NOTHING = Safe("")
_MARKS = {"good": "\N{CHECK MARK}", "open": "?", "fair": "!", "bad": "\N{MULTIPLICATION X}", "plain": "="}


def banner(story: RunState) -> Safe:
    """The end of a run in one look: the verdict, or why there is none."""
    if isinstance(story.end, Failed):
        return _banner("bad", title_of(story.end), coded(story.end.message), after(story.end))
    if isinstance(story.end, Cancelled):
        told = "It was stopped before it was judged, so there is no verdict. The model was not changed."
        return _banner("plain", f"Stopped after step {story.end.step}", told, ())
    if story.verdict is None:
        return Safe("")
    found = Verdict.from_json(story.verdict)
    summary = f"{said(found.summary)} Judged in {duration(story.seconds)}.".strip()
    return _banner(tone_of(found.word), found.headline, summary, found.reasons, layer_table(found.layers))


def headline_banner(story: RunState) -> Safe:
    """The headline of a judged run with its one sentence; the layers are told in `in_layers`."""
    found = Verdict.from_json(story.verdict or {})
    return _banner(tone_of(found.word), found.headline, said(found.summary), ())


def in_layers(story: RunState) -> Safe:
    """What the headline stands on: every layer, the reasons, and the four scores."""
    if story.verdict is None:
        return Safe("")
    found = Verdict.from_json(story.verdict)
    listed = tag("ul", *(tag("li", said(words)) for words in found.reasons)) if found.reasons else None
    judged = tag("p", f"Judged in {duration(story.seconds)}.", class_="le-muted")
    table = tag("div", layer_table(found.layers), listed, judged, notices(story.notes), class_="le-card le-judged")
    return join(table, score_tiles(story.scores))


def said(words: str) -> str:
    """A sentence of a verdict as it is read. Verdicts of earlier versions call prompts about others facts, of which
    there are fewer: the map beside it counts those."""
    return in_words(words.replace("facts about others", "prompts about others"))


def tone_of(word: str) -> str:
    """The tone in which a verdict is drawn: good, open, fair, bad or plain."""
    return _TONES.get(word, "plain")


def verdict_tag(word: str) -> Safe:
    """A verdict as a small mark."""
    tone = tone_of(word)
    return tag("span", f"{_MARKS[tone]} {word}", class_=f"le-tag le-tone-{tone}")


def _banner(tone: str, title: str, summary: str, reasons: tuple[str, ...], table: Safe = NOTHING) -> Safe:
    mark = tag("span", tag("b", _MARKS[tone]), class_="le-mark", aria_hidden="true")
    told = [words if isinstance(words, Safe) else said(words) for words in reasons]
    listed = tag("ul", *(tag("li", words) for words in told)) if told else None
    body = tag("div", tag("h2", title), tag("p", summary), table, listed)
    return tag("section", mark, body, class_=f"le-verdict le-tone-{tone}", role="status")


def score_tiles(scores: Mapping[str, Scores]) -> Safe:
    """The totals of the unlearned model beside the original and the retain-only model."""
    if "unlearned" not in scores:
        return Safe("")
    results = {model: listed(row) for model, row in scores.items()}
    return tag("div", *(_tile(term, results) for term in reversed(results["unlearned"].totals)), class_="le-tiles")


def _tile(term: Term, results: Mapping[str, Result]) -> Safe:
    values = {model: {t.name: t.value for t in result.totals}.get(term.name) for model, result in results.items()}
    others = [
        tag("span", tag("i", class_=f"le-dot le-{model}"), f"{model_title(model)} ", tag("b", score(values[model])))
        for model in ("original", "retain_only")
        if model in values
    ]
    made_of = results["unlearned"].made_of
    link = tag("p", tag("a", "See the terms", href=f"#{TERMS_ID}", target="_self")) if made_of else None
    title = capitalised(term.title)
    head = tag("h3", explained(term.name, title, term.formula) if term.formula else title)
    if term.value is None:
        why = f"{MISSING}: {term.note}." if term.note else f"{MISSING}."
        return tag("article", head, tag("p", why), tag("p", *others, class_="le-others"), class_="le-card le-tile")
    told = (tag("p", f"{title} is: {term.formula}."), tag("p", term.caution), link)
    return tag(
        "article",
        head,
        tag("p", score(values["unlearned"]), class_="le-value"),
        _track(values) if term.higher_is_better is not None and _are_shares(values) else None,
        tag("p", *others, tag("span", term.note) if term.note else None, class_="le-others"),
        details("Why is this number misleading?", *told) if term.caution else None,
        class_="le-card le-tile",
    )


def _are_shares(values: Mapping[str, float | None]) -> bool:
    return all(value is None or 0 <= value <= 1 for value in values.values())


def _track(values: Mapping[str, float | None]) -> Safe:
    """A line from 0 to 1 with one marker per model."""
    order = ("retain_only", "original", "unlearned")  # the unlearned model is drawn last, on top
    return track(*(pin(model, value) for model in order if (value := values.get(model)) is not None))


def summary(story: RunState) -> Safe:
    """Banner and tiles, in this order."""
    return join(banner(story), score_tiles(story.scores))


def title_of(end: Failed) -> str:
    return _TOLD.get(end.kind, _OTHER)[0]


def after(end: Failed) -> tuple[Safe, ...]:
    """What is safe, and what to do next where the message does not say it."""
    _, safe, then = _TOLD.get(end.kind, _OTHER)
    lines = (("Safe", safe), ("Next", then))
    return tuple(join(tag("strong", f"{name}: "), words) for name, words in lines if words)
