"""The runs of a home as a table that is sorted, picked from and paged; and how a sweep is doing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from unlearn_core.report.format import count, duration, score, shorten
from unlearn_core.report.markup import Safe, tag
from unlearn_core.report.verdict import verdict_tag
from unlearn_core.runs.rows import RunRow
from unlearn_core.runs.sweep import SweepState

# Title, column to sort by.
_COLUMNS = (
    ("Run", "name"), ("When", "created"), ("Status", "status"), ("Verdict", "verdict"), ("Final", "final"),
    ("Task aggregate", "aggregate"), ("Membership", "membership"), ("Utility", "utility"),
    ("Forgotten", "forget"), ("Retained", "retain"), ("Time", "seconds"),
)  # fmt: skip
_WORDS = 4  # columns that are words; the others are numbers
CSV = (
    "run", "name", "tags", "status", "verdict", "method", "target", "data", "seed", "final_score",
    "task_aggregate", "mia_score", "utility", "forgotten", "retained", "seconds", "settings",
)  # fmt: skip


def runs_table(
    rows: Sequence[RunRow], now: float, *, picked: Collection[str] = (), sort: str = "created",
    descending: bool = True, filtered: bool = False,
) -> Safe:  # fmt: skip
    """One page of runs. Buttons in the head sort (`data-sort`), boxes in the rows pick (`data-run`)."""
    if not rows and filtered:
        return _nothing("No run fits this filter. Clear it to see all.")
    if not rows:
        return _nothing("No runs yet. Press Make it forget on the first tab.")
    pick = tag("th", tag("span", "Pick", class_="le-hidden"), scope="col")
    head = tag("tr", pick, *(_head(i, *names, sort, descending) for i, names in enumerate(_COLUMNS)))
    body = [_row(row, now, row.id in picked) for row in rows]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="le-table le-runs")
    return tag(
        "div", table, class_="le-card le-scroll", tabindex="0", role="region", aria_label="Table of runs"
    )


def page_line(offset: int, shown: int, total: int) -> Safe:
    """`26 to 50 of 200 runs`."""
    words = f"{offset + 1} to {offset + shown} of {count(total, 'run')}" if shown else ""
    return tag("p", words, class_="le-muted le-page", role="status")


def csv_rows(rows: Sequence[RunRow]) -> list[list[object]]:
    """Cells for the columns of `CSV`."""
    return [
        [r.id, r.name, "; ".join(r.tags), r.status, r.verdict, r.method, r.target, r.data, r.seed, r.final,
         r.aggregate, r.membership, r.utility, r.forget, r.retain, r.seconds,
         ", ".join(f"{k}={v}" for k, v in r.settings.items() if v is not None)]
        for r in rows
    ]  # fmt: skip


def sweep_panel(state: SweepState) -> Safe:
    """How many runs of a sweep are done, and how long the rest will take."""
    total, share = len(state.rows), state.done / len(state.rows)
    words = "Sweep done" if state.over else f"Sweep: {state.done} of {count(total, 'run')} done"
    left = f"about {duration(state.seconds_left)} left" if state.seconds_left and not state.over else ""
    parts = [f"{number} {name}" for name in ("running", "queued", "finished", "failed", "cancelled")
             if (number := state.number(name))]  # fmt: skip
    top = tag(
        "div",
        tag("strong", words, aria_live="polite"),
        tag("span", left, class_="le-muted"),
        class_="le-progress-top",
    )
    bar = tag(
        "div", tag("div", class_="le-bar-fill", style=f"width:{share * 100:.0f}%"), class_="le-bar",
        role="progressbar", aria_label="Progress of the sweep", aria_valuemin="0", aria_valuemax="100",
        aria_valuenow=f"{share * 100:.0f}",
    )  # fmt: skip
    told = tag("p", ", ".join(parts) + f". Tag: {state.tag}", class_="le-muted")
    return tag("div", top, bar, told, class_="le-card le-progress")


def _nothing(words: str) -> Safe:
    return tag("p", words, class_="le-muted")


def _head(place: int, title: str, column: str, sort: str, descending: bool) -> Safe:
    active = column == sort
    mark = (
        " \N{BLACK DOWN-POINTING SMALL TRIANGLE}" if descending else " \N{BLACK UP-POINTING SMALL TRIANGLE}"
    )
    button = tag("button", title, mark if active else "", type="button", data_sort=column, class_="le-sort")
    order = ("descending" if descending else "ascending") if active else None
    kind = "le-number" if place >= _WORDS else None
    return tag("th", button, scope="col", class_=kind, aria_sort=order)


def _row(row: RunRow, now: float, picked: bool) -> Safe:
    name = shorten(row.name, 60)
    box = tag(
        "input", type="checkbox", data_run=row.id, checked=picked, aria_label=f"Pick {name}", class_="le-pick"
    )
    tags = [tag("span", shorten(words, 24), class_="le-tag") for words in row.tags]
    what = f"{row.method}, seed {row.seed}, {shorten(row.target, 26)} / {shorten(row.data, 26)}"
    title = tag("td", tag("a", name, href=f"?run={row.id}"), " ", *tags, tag("div", what, class_="le-muted"))
    numbers = (row.final, row.aggregate, row.membership, row.utility, row.forget, row.retain)
    return tag(
        "tr",
        tag("td", box),
        title,
        tag("td", ago(now - row.created), class_="le-when"),
        tag("td", tag("span", row.status, class_="le-tag")),
        tag("td", verdict_tag(row.verdict) if row.verdict else ""),
        *(tag("td", score(value), class_="le-number") for value in numbers),
        tag("td", duration(row.seconds), class_="le-number"),
    )


def ago(seconds: float) -> str:
    """How long ago, in words."""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} days ago"
