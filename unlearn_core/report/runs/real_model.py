"""The leaderboard of a real pretrained model: what each method leaves of a subject that people know, and of the rest.

What is shown was measured by `benchmarks/real_model.py` and ships with the weights' hash and versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unlearn_core.report.kit.markup import Safe
from unlearn_core.report.runs.audit_columns import NO_TITLES
from unlearn_core.report.runs.one_person import bar_source, bar_table

if TYPE_CHECKING:
    from unlearn_core.report.runs.leaderboard import Board

KIND = "real model"
_COLUMNS = (
    ("trained", "Left, trained wordings"),
    ("unseen", "Left, other wordings"),
    ("named", "Still named"),
    ("neighbours", "Neighbours kept"),
    ("general", "Loss of other text"),
    ("seconds", "Seconds"),
)


def real_table(board: Board, audits: Mapping[str, str] = NO_TITLES) -> Safe:
    return bar_table(board, _COLUMNS, "Real model", "real_model.csv", audits)


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
    return bar_source(board, told, board["target"], "benchmarks/real_model.py")
