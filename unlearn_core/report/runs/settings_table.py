"""Runs by their settings and scores: which values led where."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import in_short, scrolled, table
from unlearn_core.store.table.rows import RunRow

SCORES = ("forgotten", "retained", "total")
MAX_ROWS = 100  # shown; the file that can be taken has all


def settings_table(rows: Sequence[RunRow]) -> Safe:
    """One line a run: the settings in which these runs differ, then the scores; with the data to download."""
    names = differing(rows)
    header = ["Name", *names, *SCORES]
    cells = [[row.name, *(_chosen(_settings(row).get(n)) for n in names), *_scores(row)] for row in rows]
    shown = table(header, ([*map(in_short, line)] for line in cells[:MAX_ROWS]), titled=False)
    link = csv_link("settings-and-scores.csv", header, cells)
    return tag("div", scrolled(shown, "Settings and scores"), tag("p", link))


def differing(rows: Sequence[RunRow]) -> list[str]:
    """The settings in which these runs differ, the method and the seed among them."""
    names = list(dict.fromkeys(name for row in rows for name in _settings(row)))
    return [name for name in names if len({str(_settings(row).get(name)) for row in rows}) > 1]


def _scores(row: RunRow) -> tuple[float | None, ...]:
    """The values of SCORES."""
    return row.forget, row.retain, row.summed_up[1]


def _settings(row: RunRow) -> dict[str, object]:
    return {"method": row.method, **row.settings, "seed": row.seed}


def _chosen(value: object) -> object:
    return "default" if value is None else value
