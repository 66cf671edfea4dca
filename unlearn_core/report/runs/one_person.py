"""The leaderboard of one person: what each method leaves told of somebody, and what it costs the others.

What is shown was measured by `benchmarks/one_person.py` and ships with the weights' hash and versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.report.runs.leaderboard import joined_later

if TYPE_CHECKING:
    from unlearn_core.report.runs.leaderboard import Board, Row

KIND = "one person"
Columns = tuple[tuple[str, str], ...]  # figure and title
_COLUMNS = (
    ("told", "Still told"),
    ("reworded", "Told otherwise"),
    ("kept", "Neighbours kept"),
    ("others", "Others kept"),
    ("utility", "Utility"),
    ("seconds", "Seconds"),
)


def person_table(board: Board) -> Safe:
    return bar_table(board, _COLUMNS, "One person", "one_person.csv")


def bar_table(board: Board, columns: Columns, name: str, file: str) -> Safe:
    """One row a method: mean over the runs, and in how many of them all is gone and the rest kept."""
    rows, heads = board["methods"], ["Method", "Gone and kept", *(title for _, title in columns)]
    made = table(heads, (_row(row, columns) for row in rows), numbers=range(2, len(heads)))
    values = [[row["method"], row.get("num_met"), row["num_runs"], *_means(row, columns)] for row in rows]
    link = csv_link(file, ["method", "met", "runs", *(key for key, _ in columns)], values)
    return tag("div", scrolled(made, name, tall=True), tag("p", link), class_="le-card")


def person_source(board: Board) -> Safe:
    """How it was measured, and with what."""
    told = (
        f"Mean over {', '.join(board['people'])}: to forget one of them, everybody else stays. Still told is the "
        "share of the facts that the answer gives away in 25 phrasings each; told otherwise, in the other ways of "
        "the Probe tab. Neighbours are 40 facts of people of the same kind that nothing trained on; others, 40 "
        "facts of anybody. Gone and kept counts the runs with nothing told, 38 of 40 kept on both sides and a "
        "utility of 98 %. Each method chose between two learning rates on another person; seconds are of training "
        "on one thread. Nothing here was attacked, and what stands before a model (the guards, ICUL) leaves all of "
        "it in the weights."
    )
    return bar_source(board, told, "the bundled model", "benchmarks/one_person.py")


def bar_source(board: Board, told: str, model: str, script: str) -> Safe:
    """What the figures are, and on which model, with which versions and by which script they were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in board["versions"].items())
    weights = board["weights"]["original"][:12]
    made = f"Measured {board['made']} on {model} (weights {weights}) with {versions}, by {script}."
    return tag("div", tag("p", told), tag("p", made, joined_later(board)), class_="le-muted le-source")


def _row(row: Row, columns: Columns) -> Safe | list[str]:
    name = row["method"]
    if not row["figures"]:
        failure = tag("td", row["failure"], colspan=str(1 + len(columns)))
        return tag("tr", tag("th", name, scope="row"), failure)
    values = zip(columns, _means(row, columns), strict=True)
    return [name, f"{row['num_met']} of {row['num_runs']}", *(_number(key, value) for (key, _), value in values)]


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if key == "seconds" else f"{value:.1%}"


def _means(row: Row, columns: Columns) -> list[float | None]:
    return [(row["figures"].get(key) or {}).get("mean") for key, _ in columns]
