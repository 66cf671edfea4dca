"""The twelve terms behind the task aggregate, as a table that is also the chart.

Forget terms are shown as the aggregate counts them, 1 minus the value, so that longer is better in every
row, and the row that drags the harmonic mean down is marked and named.
"""

from __future__ import annotations

from statistics import harmonic_mean

from unlearn_core.evaluation.scores import TERM_NAMES, Scores
from unlearn_core.report.format import model_title, score, term_title
from unlearn_core.report.formulas import explained, term_formula
from unlearn_core.report.markup import Safe, join, tag

TERMS_ID = "le-twelve-terms"  # where the notes beside the scores lead
_ORDER = ("original", "unlearned", "retain_only")
_CAPTIONS = {
    "forget": "Forget set: how much is gone (1 - value)",
    "retain": "Retain set: how much is left",
}


def limiting(scores: Scores) -> str | None:
    """Name of the lowest of the twelve terms, None where there is none or nothing limits (all at 1)."""
    known = [
        (value, name)
        for name, value in zip(TERM_NAMES, scores.aggregated_terms, strict=True)
        if value is not None
    ]
    if not known or min(known)[0] >= 1.0:
        return None
    return min(known, key=lambda pair: pair[0])[1]


def without_limit(scores: Scores) -> float | None:
    """The harmonic mean of the other terms: what the aggregate would be without the lowest."""
    values = [value for value in scores.aggregated_terms if value is not None]
    if len(values) < 2:
        return None
    values.remove(min(values))
    return float(harmonic_mean([max(value, 0.0) for value in values]))


def breakdown(scores: dict[str, Scores]) -> Safe:
    """The table of twelve terms for every scored model, with the limiting term named."""
    if "unlearned" not in scores:
        return Safe("")
    limit = limiting(scores["unlearned"])
    bodies = [_part(scores, split, limit) for split in ("forget", "retain")]
    head = tag(
        "tr",
        tag("th", "Term", scope="col"),
        tag("th", tag("span", "0 to 1, longer is better", class_="le-muted"), scope="col"),
        *(tag("th", _dot(model), model_title(model), scope="col") for model in _ORDER if model in scores),
    )
    table = tag("table", tag("thead", head), *bodies, class_="le-terms")
    return tag(
        "div",
        _sentence(scores["unlearned"], limit),
        table,
        class_="le-card le-breakdown",
        id=TERMS_ID,
        tabindex="-1",
    )


def _sentence(scores: Scores, limit: str | None) -> Safe:
    if limit is None:
        return tag("p", f"Task aggregate {score(scores.task_aggregate)}. No term limits it.")
    value = dict(zip(TERM_NAMES, scores.aggregated_terms, strict=True))[limit]
    split = limit.split("/")[0]
    return tag(
        "p",
        f"Task aggregate {score(scores.task_aggregate)}: limited by ",
        tag("strong", f"{term_title(limit).lower()} on the {split} set"),
        f" ({score(value)}). Without that term it would be {score(without_limit(scores))}.",
    )


def _part(scores: dict[str, Scores], split: str, limit: str | None) -> Safe:
    columns = 2 + sum(model in scores for model in _ORDER)
    caption = tag(
        "tr", tag("th", _CAPTIONS[split], colspan=str(columns), scope="rowgroup"), class_="le-group"
    )
    rows = [
        _row(scores, i, name, name == limit)
        for i, name in enumerate(TERM_NAMES)
        if name.startswith(f"{split}/")
    ]
    return tag("tbody", caption, *rows)


def _row(scores: dict[str, Scores], index: int, name: str, limits: bool) -> Safe:
    values = {model: scores[model].aggregated_terms[index] for model in _ORDER if model in scores}
    bar = value if (value := values.get("unlearned")) is not None else 0.0
    pins = [
        tag("i", class_=f"le-pin le-{model}", style=f"left:{at * 100:.1f}%")
        for model in ("retain_only", "original")
        if (at := values.get(model)) is not None
    ]
    track = tag(
        "div",
        tag("i", class_="le-fill", style=f"width:{bar * 100:.1f}%"),
        *pins,
        class_="le-track",
        aria_hidden="true",
    )
    badge = tag("span", "limits the score", class_="le-tag le-limit") if limits else None
    title = explained(name.replace("/", "-"), term_title(name), term_formula(name))
    numbers = [
        tag("td", score(value), class_=f"le-number le-{model}-number") for model, value in values.items()
    ]
    return tag(
        "tr",
        tag("th", join(title, " ", badge), scope="row"),
        tag("td", track, class_="le-chart"),
        *numbers,
        class_="le-limiting" if limits else None,
    )


def _dot(model: str) -> Safe:
    return tag("i", class_=f"le-dot le-{model}", aria_hidden="true")
