"""The runs of a home as a table that is sorted, picked from and paged; and how a sweep is doing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from unlearn_core.jobs.sweep import SweepState
from unlearn_core.report.kit.bars import progress_card
from unlearn_core.report.kit.format import ago, capitalised, count, score, shorten
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import scrolled
from unlearn_core.report.run.verdict import verdict_tag
from unlearn_core.store.table.rows import TOTAL_OF, RunRow
from unlearn_core.system.units import duration

# Title, column to sort by; the totals of the runs' benchmarks stand between.
_WORDS = (("Run", "name"), ("When", "created"), ("Status", "status"), ("Verdict", "verdict"))
_SHARES = (("Forgotten", "forget"), ("Retained", "retain"), ("Time", "seconds"))
_MAX_TOTALS = 8  # columns; runs of several benchmarks have several sets


def totals_of(rows: Sequence[RunRow]) -> dict[str, str]:
    """Name and title of every total that one of the runs has; what a benchmark's others lead up to stands first."""
    found = {name: title for row in rows for name, title in reversed(row.titles.items())}
    return {name: capitalised(title) for name, title in list(found.items())[:_MAX_TOTALS]}


def runs_table(
    rows: Sequence[RunRow],
    now: float,
    *,
    picked: Collection[str] = (),
    sort: str = "created",
    descending: bool = True,
    filtered: bool = False,
) -> Safe:
    """One page of runs. Buttons in the head sort (`data-sort`), boxes in the rows pick (`data-run`)."""
    if not rows:
        none = "No run fits this filter. Clear it to see all."
        first = "No runs yet. Press Make it forget on the first tab."
        return tag("p", none if filtered else first, class_="le-muted")
    pick = tag("th", tag("span", "Pick", class_="le-hidden"), scope="col")
    totals = totals_of(rows)
    columns = (*_WORDS, *((title, f"{TOTAL_OF}{name}") for name, title in totals.items()), *_SHARES)
    head = tag("tr", pick, *(_head(i, *names, sort, descending) for i, names in enumerate(columns)))
    body = [_row(row, now, row.id in picked, tuple(totals)) for row in rows]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="le-table le-runs")
    return scrolled(table, "Table of runs", kind="le-card")


def page_line(offset: int, shown: int, total: int) -> Safe:
    """`26 to 50 of 200 runs`."""
    words = f"{offset + 1} to {offset + shown} of {count(total, 'run')}" if shown else ""
    return tag("p", words, class_="le-muted le-page", role="status")


def csv_columns(rows: Sequence[RunRow]) -> list[str]:
    """The head of `csv_rows`."""
    first = ("run", "name", "tags", "status", "verdict", "method", "target", "data", "seed")
    return [*first, *totals_of(rows), "forgotten", "retained", "seconds", "settings"]


def csv_rows(rows: Sequence[RunRow]) -> list[list[object]]:
    """Cells for the columns of `csv_columns`."""
    totals = totals_of(rows)
    return [
        [
            r.id,
            r.name,
            "; ".join(r.tags),
            r.status,
            r.verdict,
            r.method,
            r.target,
            r.data,
            r.seed,
            *(r.totals.get(name) for name in totals),
            r.forget,
            r.retain,
            r.seconds,
            ", ".join(f"{k}={v}" for k, v in r.settings.items() if v is not None),
        ]
        for r in rows
    ]


def sweep_panel(state: SweepState) -> Safe:
    """How many runs of a sweep are done, and how long the rest will take."""
    total, share = len(state.rows), state.done / len(state.rows)
    words = "Sweep done" if state.over else f"Sweep: {state.done} of {count(total, 'run')} done"
    left = f"about {duration(state.seconds_left)} left" if state.seconds_left and not state.over else ""
    parts = [
        f"{number} {name}"
        for name in ("running", "queued", "finished", "failed", "cancelled")
        if (number := state.number(name))
    ]
    told = tag("p", ", ".join(parts) + f". Tag: {state.tag}", class_="le-muted")
    return progress_card(words, left, share, "Progress of the sweep", told)


def _head(place: int, title: str, column: str, sort: str, descending: bool) -> Safe:
    active = column == sort
    mark = " \N{BLACK DOWN-POINTING SMALL TRIANGLE}" if descending else " \N{BLACK UP-POINTING SMALL TRIANGLE}"
    button = tag("button", title, mark if active else "", type="button", data_sort=column, class_="le-sort")
    order = ("descending" if descending else "ascending") if active else None
    kind = "le-number" if place >= len(_WORDS) else None
    return tag("th", button, scope="col", class_=kind, aria_sort=order)


def _row(row: RunRow, now: float, picked: bool, totals: Sequence[str]) -> Safe:
    name = shorten(row.name, 60)
    box = tag("input", type="checkbox", data_run=row.id, checked=picked, aria_label=f"Pick {name}", class_="le-pick")
    tags = [tag("span", shorten(words, 24), class_="le-tag") for words in row.tags]
    what = f"{row.method}, seed {row.seed}, {shorten(row.target, 40)} / {shorten(row.about, 40)}"
    title = tag("td", tag("a", name, href=f"?run={row.id}"), " ", *tags, tag("div", what, class_="le-muted"))
    numbers = (*(row.totals.get(name) for name in totals), row.forget, row.retain)
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
