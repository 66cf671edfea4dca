"""The leaderboards of subjects: what each method leaves told of one person, or of what people know in a real pretrained
model, and what it costs the rest.

What is shown was measured by `benchmarks/one_person.py` and `benchmarks/real_model.py` and ships with the weights'
hash and versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.report.runs.audit_columns import CSV_HEADS, HEADS, NO_TITLES, audit_cells, audit_values, audits_told
from unlearn_core.report.runs.leaderboard import joined_later
from unlearn_core.runs.series.audited import audits_of, fewest_leaks

if TYPE_CHECKING:
    from unlearn_core.report.runs.leaderboard import Board, Row


PERSON_KIND = "one person"
Columns = tuple[tuple[str, str], ...]  # figure and title
_PERSON_COLUMNS = (
    ("told", "Still told"),
    ("reworded", "Told otherwise"),
    ("kept", "Neighbours kept"),
    ("others", "Others kept"),
    ("utility", "Utility"),
    ("seconds", "Seconds"),
)


def person_table(board: Board, audits: Mapping[str, str] = NO_TITLES) -> Safe:
    return _bar_table(board, _PERSON_COLUMNS, "One person", "one_person.csv", audits)


def _bar_table(board: Board, columns: Columns, name: str, file: str, audits: Mapping[str, str]) -> Safe:
    """One row a method: mean over the runs, in how many of them all is gone and the rest kept, and what audits found.
    Those of which the fewest audits leak come first, else as the board has them. `audits` are their titles by name."""
    rows = sorted(board["methods"], key=fewest_leaks)
    heads = ["Method", "Gone and kept", *(title for _, title in columns), *HEADS]
    made = table(heads, (_row(row, columns, audits) for row in rows), numbers=range(2, len(heads) - 1))
    values = [
        [row["method"], row.get("num_met"), row["num_runs"], *_means(row, columns), *audit_values(audits_of(row))]
        for row in rows
    ]
    link = csv_link(file, ["method", "met", "runs", *(key for key, _ in columns), *CSV_HEADS], values)
    return tag("div", scrolled(made, name, tall=True), tag("p", link), class_="le-card")


def person_source(board: Board) -> Safe:
    """How it was measured, and with what."""
    told = (
        f"Mean over {', '.join(board['people'])}: to forget one of them, everybody else stays. Still told is the "
        "share of the facts that the answer gives away in 25 phrasings each; told otherwise, in the other ways of "
        "the Probe tab. Neighbours are 40 facts of people of the same kind that nothing trained on; others, 40 "
        "facts of anybody. Gone and kept counts the runs with nothing told, 38 of 40 kept on both sides and a "
        "utility of 98 %. Each method chose between two learning rates on another person; seconds are of training "
        "on one thread. What stands before a model (the guards, ICUL) leaves all of it in the weights."
    )
    return _bar_source(board, told, "the bundled model", "benchmarks/one_person.py")


def _bar_source(board: Board, told: str, model: str, script: str) -> Safe:
    """What the figures are, and on which model, with which versions and by which script they were measured."""
    versions = ", ".join(f"{name} {number}" for name, number in board["versions"].items())
    weights = board["weights"]["original"][:12]
    made = f"Measured {board['made']} on {model} (weights {weights}) with {versions}, by {script}."
    parts = (tag("p", told), tag("p", audits_told(board)), tag("p", made, joined_later(board)))
    return tag("div", *parts, class_="le-muted le-source")


def _row(row: Row, columns: Columns, audits: Mapping[str, str]) -> Safe | list[str]:
    name = row["method"]
    if not row["figures"]:
        failure = tag("td", row["failure"], colspan=str(1 + len(columns) + len(HEADS)))
        return tag("tr", tag("th", name, scope="row"), failure)
    values = zip(columns, _means(row, columns), strict=True)
    figures = (_number(key, value) for (key, _), value in values)
    return [name, f"{row['num_met']} of {row['num_runs']}", *figures, *audit_cells(audits_of(row), audits)]


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f}" if key == "seconds" else f"{value:.1%}"


def _means(row: Row, columns: Columns) -> list[float | None]:
    return [(row["figures"].get(key) or {}).get("mean") for key, _ in columns]


REAL_KIND = "real model"
_REAL_COLUMNS = (
    ("trained", "Left, trained wordings"),
    ("unseen", "Left, other wordings"),
    ("named", "Still named"),
    ("neighbours", "Neighbours kept"),
    ("general", "Loss of other text"),
    ("seconds", "Seconds"),
)


def real_table(board: Board, audits: Mapping[str, str] = NO_TITLES) -> Safe:
    return _bar_table(board, _REAL_COLUMNS, "Real model", "real_model.csv", audits)


def real_source(board: Board) -> Safe:
    """How it was measured, and with what."""
    steps = " to ".join(str(number) for number in dict.fromkeys((board["steps"][0], board["steps"][-1])))
    bar = board["bar"]
    runs = max(row["num_runs"] for row in board["methods"])
    measured = "One run on" if runs == 1 else "Mean over"
    told = (
        f"{measured} {', '.join(board['subjects'])}, {steps} steps each, with an adapter. Left is the probability of "
        "the answer or its likeliest other name, as a share of before; still named, of the prompts whose "
        "continuation named it. Neighbours are prompts about others that nothing trained on, as a share of before. "
        "Loss of other text is the change on public-domain English. Gone and kept counts the runs with at most "
        f"{bar['trained']:.0%} left and named, {bar['neighbours']:.0%} of the neighbours and a change within "
        f"{bar['general']:.0%}. No method was tuned to this model but lethe_pretrained, on other subjects; seconds are "
        "of training on one thread."
    )
    return _bar_source(board, told, board["target"], "benchmarks/real_model.py")
