"""Tables: of any cells, of pairs, and behind a chart; and the box in which a wide or a long one scrolls."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.markup import Safe, details, tag
from unlearn_core.system.units import MISSING

Cell = str | float | int | None
MAX_ROWS = 400


def table(
    columns: Sequence[object],
    rows: Iterable[Safe | Sequence[object]],
    *,
    numbers: Collection[int] = (),
    titled: bool = True,
    caption: str | None = None,
    class_: str = "le-table",
) -> Safe:
    """Rows under the heads `columns`; a row that is markup already stands as it is.

    numbers: the places of the columns that hold numbers. titled: whether a row's first cell is its head.
    """

    def cell(place: int, value: object) -> Safe:
        kind = "le-number" if place in numbers else None
        return tag("th", value, scope="row") if titled and place == 0 else tag("td", value, class_=kind)

    heads = (
        tag("th", words, scope="col", class_="le-number" if n in numbers else None) for n, words in enumerate(columns)
    )
    body = (row if isinstance(row, Safe) else tag("tr", *map(cell, range(len(row)), row)) for row in rows)
    named = tag("caption", caption) if caption else None
    return tag("table", named, tag("thead", tag("tr", *heads)), tag("tbody", *body), class_=class_)


def scrolled(inside: Safe, label: str, tall: bool = False, kind: str = "") -> Safe:
    """A table in a box that scrolls by keyboard too; `tall` ones within the screen. kind: the box's further class."""
    classes = " ".join(filter(None, (kind, "le-scroll", "le-tall" if tall else "")))
    return tag("div", inside, class_=classes, tabindex="0", role="region", aria_label=label)


def pairs(rows: Mapping[str, object]) -> Safe:
    """Names and what they stand for, without a head."""
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows.items()]
    return tag("table", tag("tbody", *body), class_="le-table le-pair")


def data_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], filename: str) -> Safe:
    """A fold with a chart's numbers, for screen readers and for whoever wants them, and a link that downloads all;
    "" without rows."""
    if not rows:
        return Safe("")
    shown = ([in_short(cell) for cell in row] for row in rows[:MAX_ROWS])
    made = table(columns, shown, caption=title, class_="le-table le-data")
    return details("Numbers behind this chart", csv_link(filename, columns, rows), scrolled(made, title, tall=True))


def in_short(cell: object) -> str:
    """A cell's value with four digits of a fraction."""
    if cell is None:
        return MISSING
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)
