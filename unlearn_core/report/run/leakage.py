"""The leakage card: what each audit says of one model, as a table that is also the figure.

One row per audit: verdict, what the attack gets out of the forgotten rows against what it gets out of the
controls, and how long it took. A pure function of what the audits of a run came to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.protocols.semeval import in_words
from unlearn_core.report.kit.bars import chips, fill, pin, progress_card, track
from unlearn_core.report.kit.format import count, score, shorten
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.models import dot
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.runs.audit_record import OPEN, AuditRecord
from unlearn_core.system.units import duration

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson, AuditRow

_TONES = {"leaks": "le-leaks", "holds": "le-holds"}
_CONTROLS = ("holdout", "retain_only")
_FOLDED = "Bar and numbers: how far the AUC is from 0.50, doubled."  # where an AUC near 0 gives away as much as near 1
_MOST_ROWS = 12  # of what lies behind a figure


def leakage_card(
    results: Iterable[AuditJson], titles: Mapping[str, str], skipped: Mapping[str, str] | None = None
) -> Safe:
    """The card of AuditResults as JSON. titles: audit name -> title; skipped: name -> why it was not done."""
    rows = list(results)
    if not rows and not skipped:
        return Safe("")
    columns = [
        "Attack",
        "Verdict",
        tag("span", "0 to 1, longer leaks more", class_="le-muted"),
        join(dot("unlearned"), "Forgotten"),
        join(dot("retain_only"), "Control"),
        "Time",
    ]
    body = [_row(row, titles) for row in rows]
    body += [_skipped(name, reason, titles) for name, reason in (skipped or {}).items()]
    made = table(columns, body, class_="le-terms le-leakage")
    return tag("div", _sentence(rows), scrolled(made, "Leakage card"), class_="le-card")


def audits_progress(record: AuditRecord, titles: Mapping[str, str], position: int = 0) -> Safe:
    """Where the audits are, as one region that a screen reader announces."""
    total = sum(record.planned.values())
    spent = sum(record.planned.get(name, 0.0) for name in record.done)
    now = record.planned.get(record.at, 0.0) * record.fraction if record.at not in record.done else 0.0
    over = record.status not in OPEN
    fraction = 1.0 if record.status == "finished" else min(1.0, (spent + now) / total) if total else 0.0
    headline, aside = _headline(record, titles, position)
    told = tag("p", record.message, class_="le-muted", role="alert") if record.message else None
    states = [(titles.get(name, name), _state(name, record, over)) for name in record.planned]
    planned = chips(states) if states else None
    return progress_card(headline, aside, fraction, "Progress of the audits", planned, told)


def _headline(record: AuditRecord, titles: Mapping[str, str], position: int) -> tuple[str, str]:
    if record.status == "queued":
        waiting = f"{count(position, 'job')} ahead of it" if position > 1 else ""
        return ("Waiting", waiting) if position else ("Starting", "loading the models")
    if record.status == "running":
        left = f"about {duration(record.seconds_left)} left" if record.seconds_left is not None else ""
        return titles.get(record.at, "Starting"), left
    ends = {"finished": "Done", "cancelled": "Stopped", "interrupted": "Interrupted"}
    return ends.get(record.status, "Stopped by an error"), f"after {duration(record.seconds)}{_over(record)}"


def _over(record: AuditRecord) -> str:
    """Why it took longer than it was given, where it did."""
    if record.budget_seconds is None or record.seconds <= record.budget_seconds:
        return ""
    return f": by estimate these attacks fit into {duration(record.budget_seconds)}"


def _state(name: str, record: AuditRecord, over: bool) -> str:
    return "done" if name in record.done else "now" if name == record.at and not over else "later"


_RULE = (
    "An attack that asks the model leaks where more comes out than of every control, by at least five points and by "
    "more than chance does once in a hundred times; the others name their bound. An interval of 95 % may leave zero "
    "out all the same."
)


def _sentence(rows: Sequence[AuditJson]) -> Safe | None:
    judged = [row for row in rows if row.get("verdict") in _TONES]
    if not judged:
        return None
    leaking = [row for row in judged if row["verdict"] == "leaks"]
    tried = count(len(judged), "attack")
    if not leaking:
        return tag("p", tag("strong", "Nothing leaks"), f" in {tried}.", class_="le-leak-line")
    rule = tag("span", _RULE, class_="le-muted")
    return tag("p", tag("strong", f"Leaks in {len(leaking)} of {tried}."), " ", rule, class_="le-leak-line")


def _row(row: AuditJson, titles: Mapping[str, str]) -> Safe:
    name, verdict = str(row.get("name", "")), str(row.get("verdict", ""))
    figures = row.get("figures") or {}
    forget = _figure(figures, "forget")
    found = [value for key in _CONTROLS if (value := _figure(figures, key)) is not None]
    control = max(found) if found else None
    judged = verdict in _TONES
    told = tag("span", in_words(str(row.get("headline", ""))), class_="le-leak-told")
    bar = tag("span", _FOLDED, class_="le-leak-told") if judged and "auc" in figures else None
    title = join(row.get("title") or titles.get(name, name), told, bar, _behind(row.get("rows") or ()))
    return tag(
        "tr",
        tag("th", title, scope="row"),
        tag("td", tag("span", verdict, class_=f"le-tag {_TONES.get(verdict, '')}")),
        tag("td", _track(forget, control) if judged else None, class_="le-chart"),
        tag("td", score(forget) if judged else "", class_="le-number"),
        tag("td", score(control) if judged else "", class_="le-number"),
        tag("td", duration(row.get("seconds")) if judged else "", class_="le-number"),
    )


def _skipped(name: str, reason: str, titles: Mapping[str, str]) -> Safe:
    title = join(titles.get(name, name), tag("span", reason, class_="le-leak-told"))
    empty = [tag("td") for _ in range(4)]
    return tag("tr", tag("th", title, scope="row"), tag("td", tag("span", "not done", class_="le-tag")), *empty)


def _track(forget: float | None, control: float | None) -> Safe:
    bar = [fill(forget)] if forget is not None else []
    return track(*bar, *([pin("retain_only", control)] if control is not None else []))


def _behind(rows: Iterable[AuditRow]) -> Safe | None:
    """What lies behind the figure, folded away."""
    shown = [tag("li", _line(row)) for row in list(rows)[:_MOST_ROWS]]
    return details("What lies behind it", tag("ul", *shown)) if shown else None


def _line(row: AuditRow) -> str:
    """One row of evidence in words, whatever its columns."""
    return "; ".join(f"{key.replace('_', ' ')}: {_words(value)}" for key, value in row.items())


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return in_words(shorten(str(value), 160)) or "(empty)"


def _figure(figures: Mapping[str, object], name: str) -> float | None:
    value = figures.get(name)
    return float(value) if isinstance(value, int | float) else None
