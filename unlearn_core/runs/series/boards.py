"""Rows of a leaderboard that were measured later, put among those it has.

Rows can be compared only where all were measured against the same: the same weights and data, and scores that say of
the reference models what they said then. The head of a board tells when and with what it was made; a row that joins
later tells that for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.system.files import read_json

Board = dict[str, Any]  # what a benchmark wrote of one target
Row = dict[str, Any]  # one method of a board
SAME_FIGURE = 1e-6  # libraries of another version may move the last digits
# What a board must share with the rows that join it, and what else it was measured with where it does not.
COMPARED = {
    "kind": "for another kind of leaderboard",
    "target": "on another target",
    "data_fingerprint": "on other data",
    "weights": "on other weights",
    "people": "on other people",
    "bar": "against another bar",
    "scores": "with another version of the scores: its figures of the reference models are not today's",
}


def read_board(path: Path) -> Board:
    """The leaderboard in a file; InputError where there is none."""
    try:
        board = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError("--into", str(path), f"cannot be read ({error})", "Name a leaderboard's file.") from None
    if not isinstance(board, dict) or not isinstance(board.get("methods"), list):
        raise InputError("--into", str(path), "is not a leaderboard", "Name a file that lethe bench wrote.")
    return board


def require_comparable(board: Board, measured: Mapping[str, Any]) -> None:
    """InputError unless rows `measured` with these weights, data and scores can stand in `board`."""
    for name, how in COMPARED.items():
        if not _alike(board.get(name), measured.get(name)):
            mend = "Name a leaderboard of the same, or measure all its methods again."
            raise InputError("--into", board.get("target", "leaderboard"), f"was measured {how}", mend)


def merged(board: Board, later: Board, order: Callable[[Row], Any]) -> Board:
    """`board` with the rows of `later`, which replace those of the same method, all sorted by `order`."""
    require_comparable(board, later)
    made = {"made": later["made"], "versions": later["versions"]}
    joining = {row["method"]: row | made for row in later["methods"]}
    staying = [row for row in board["methods"] if row["method"] not in joining]
    return board | {"methods": sorted([*staying, *joining.values()], key=order)}


def _alike(told: Any, measured: Any) -> bool:
    """Whether all that a board tells was measured alike; figures that it does not have yet may be there besides."""
    if isinstance(told, Mapping) and isinstance(measured, Mapping):
        return all(name in measured and _alike(value, measured[name]) for name, value in told.items())
    if isinstance(told, float) and isinstance(measured, float):
        return abs(told - measured) <= SAME_FIGURE
    return bool(told == measured)
