"""The terms behind a score, as a table that is also the chart, and what others published on the benchmark.

Bars are drawn as the mean counts a term, 1 minus the value where lower is better, so that longer is better in every
row; the row that drags a harmonic mean down is marked and named.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from unlearn_core.evaluation.protocols.base import Result, Term
from unlearn_core.evaluation.protocols.references.reference_lines import published
from unlearn_core.evaluation.protocols.semeval import listed
from unlearn_core.evaluation.scores import Scores
from unlearn_core.report.kit.bars import fill, pin, track
from unlearn_core.report.kit.format import capitalised, score, uncapitalised
from unlearn_core.report.kit.markup import Safe, details, explained, join, tag
from unlearn_core.report.kit.models import named
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.system.units import MISSING

TERMS_ID = "le-twelve-terms"  # where the notes beside the scores lead
_ORDER = ("original", "unlearned", "retain_only")
_CAPTIONS = {
    "forget": "Forget set: how much is gone (1 - value)",
    "retain": "Retain set: how much is left",
}
BETTER = {True: "higher is better", False: "lower is better", None: "best at the retain model's value"}
_LINE_TERMS = 4  # columns of the published table


def breakdown(scores: Mapping[str, Scores]) -> Safe:
    """The terms of every scored model, by split; nothing before the unlearned one is scored."""
    if "unlearned" not in scores:
        return Safe("")
    results = {model: listed(scores[model]) for model in _ORDER if model in scores}
    first = results["unlearned"]
    shown = [term for term in first.terms if term.split]
    limit = first.limiting()
    splits = dict.fromkeys(term.split for term in shown)
    bodies = [_part(first, split, [t for t in shown if t.split == split], results, limit) for split in splits]
    bar = tag("span", "0 to 1, longer is better", class_="le-muted")
    head = tag(
        "tr",
        tag("th", "Term", scope="col"),
        tag("th", bar, scope="col"),
        *(tag("th", named(model), scope="col") for model in results),
    )
    return tag(
        "div",
        _sentence(first, limit),
        tag("table", tag("thead", head), *bodies, class_="le-terms"),
        *(tag("p", note, class_="le-muted") for note in first.notes),
        _lines(first),
        class_="le-card le-breakdown",
        id=TERMS_ID,
        tabindex="-1",
    )


def figure(value: float | None) -> str:
    """A term's value: four digits, a power of ten where it is tiny."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e3 else f"{value:.2e}"


def _sentence(result: Result, limit: Term | None) -> Safe:
    """The total that is a mean of terms, and the term that holds it down."""
    total = result.mean_term
    if total is None:
        return tag("p", f"Scored as {result.protocol.upper()}; the measures have that benchmark's names.")
    told = f"{capitalised(total.title)} {score(total.value)}"
    if total.value is None:
        return tag("p", f"{told}: {total.note}." if total.note else f"{told}.")
    if limit is None:
        return tag("p", f"{told}. No term limits it.")
    return tag(
        "p",
        f"{told}: limited by ",
        tag("strong", f"{uncapitalised(limit.title)} on the {limit.split} set"),
        f" ({score(result.counted(limit))}). Without that term it would be {score(result.without_limit())}.",
    )


def _part(result: Result, split: str, terms: Sequence[Term], results: Mapping[str, Result], limit: Term | None) -> Safe:
    title = _CAPTIONS.get(split) if result.counts_gone else None
    title = title or capitalised(split)
    columns = str(2 + len(results))
    caption = tag("tr", tag("th", title, colspan=columns, scope="rowgroup"), class_="le-group")
    return tag(
        "tbody", caption, *(_row(term, results, limit is not None and term.name == limit.name) for term in terms)
    )


def _row(term: Term, results: Mapping[str, Result], limits: bool) -> Safe:
    values = {model: _value(result, term.name) for model, result in results.items()}
    badge = tag("span", "limits the score", class_="le-tag le-limit") if limits else None
    title: str | Safe = term.title
    if term.formula:
        title = explained(term.name.replace("/", "-"), term.title, term.formula)
    counts_gone = results["unlearned"].counts_gone
    about = None if counts_gone else tag("div", f"{term.note or BETTER[term.higher_is_better]}; {term.n} rows")
    show = score if counts_gone else figure
    numbers = [tag("td", show(value), class_=f"le-number le-{model}-number") for model, value in values.items()]
    return tag(
        "tr",
        tag("th", join(title, " ", badge, about and tag("span", about, class_="le-muted")), scope="row"),
        tag("td", _track(term, values, counts_gone), class_="le-chart"),
        *numbers,
        class_="le-limiting" if limits else None,
    )


def _value(result: Result, name: str) -> float | None:
    return next((result.counted(term) for term in result.terms if term.name == name), None)


def _track(term: Term, values: Mapping[str, float | None], counted: bool) -> Safe | None:
    """A bar for the unlearned model and a pin for each other; none for what is no share or has no better side."""
    known = {model: value for model, value in values.items() if value is not None}
    if term.higher_is_better is None or any(not 0 <= value <= 1 for value in known.values()):
        return None
    if not counted and not term.higher_is_better:
        known = {model: 1 - value for model, value in known.items()}
    pins = (pin(model, known[model]) for model in ("retain_only", "original") if model in known)
    return track(fill(known.get("unlearned", 0.0)), *pins)


def _lines(result: Result) -> Safe:
    lines = published(result.protocol)
    if not lines:
        return Safe("")
    titles = {term.name: term.title for term in result.terms}
    known = [name for name in dict.fromkeys(name for line in lines for name in line.values) if name in titles]
    counts = {name: sum(name in line.values for line in lines) for name in known}
    shown = sorted(known, key=lambda name: -counts[name])[:_LINE_TERMS]
    rows = ([f"{e.model}, {e.split}", e.method, *(figure(e.values.get(name)) for name in shown)] for e in lines)
    columns = ["Model", "Method", *(titles[name] for name in shown)]
    sources = "; ".join(dict.fromkeys(line.source for line in lines))
    return details(
        "Published results on this benchmark",
        tag("p", f"Of other models than this one: what is usual, not what is reached here. From {sources}."),
        scrolled(table(columns, rows, numbers=range(2, len(columns)), class_="le-terms"), "Published results"),
        class_="le-fold",
    )
