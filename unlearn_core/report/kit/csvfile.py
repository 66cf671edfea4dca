"""Tables as CSV that a spreadsheet opens without running anything in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from unlearn_core.report.kit.markup import Safe, tag

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def to_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The table as text. What a spreadsheet would take for a formula gets an apostrophe before it (OWASP,
    "CSV Injection"); numbers are numbers and stay as they are, None is empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([_cell(name) for name in header])
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def csv_link(filename: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Safe:
    """A link that saves the table; it carries the data with it and asks no server."""
    address = "data:text/csv;charset=utf-8," + quote(to_csv(header, rows))
    return tag("a", "Download as CSV", href=address, download=filename, class_="le-csv")


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return value
    words = str(value)
    return "'" + words if words.startswith(_FORMULA) else words
