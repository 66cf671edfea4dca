"""The table behind a chart, for screen readers and for whoever wants the numbers, with a CSV to download."""

from __future__ import annotations

from collections.abc import Sequence

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.markup import Safe, details, tag
from unlearn_core.system.units import MISSING

Cell = str | float | int | None
MAX_ROWS = 400


def data_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], filename: str) -> Safe:
    """A fold with the chart's numbers and a link that downloads all of them; "" without rows."""
    if not rows:
        return Safe("")
    head = tag("tr", *(tag("th", words, scope="col") for words in columns))
    body = [
        tag("tr", tag("th", _shown(row[0]), scope="row"), *(tag("td", _shown(cell)) for cell in row[1:]))
        for row in rows[:MAX_ROWS]
    ]
    table = tag("table", tag("caption", title), tag("thead", head), tag("tbody", *body), class_="le-table le-data")
    scroll = tag("div", table, class_="le-scroll le-tall", tabindex="0", role="region", aria_label=title)
    return details("Numbers behind this chart", csv_link(filename, columns, rows), scroll)


def _shown(cell: Cell) -> str:
    if cell is None:
        return MISSING
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
