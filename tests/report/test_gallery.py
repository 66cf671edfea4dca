"""The leaderboard of the methods: sorted as asked, and drawn with its reference points."""

from __future__ import annotations

from typing import Any

import pytest
from golden_page import assert_golden

from unlearn_core.report.runs.leaderboard import BEST_FIRST, ORDERS, board_figure, board_table, made_with


def row(method: str, final: float, distance: float | None, label: str = "forgotten") -> dict[str, Any]:
    values = {"final_score": final, "loss_distance": distance, "keeping": final, "forgetting": 0.5}
    return {
        "method": method,
        "settings": {"beta": 0.1} if method == "npo" else {},
        "num_seeds": 5,
        "seconds": 3.0,
        "verdicts": {label: 4, "collapsed": 1},
        "figures": {name: {"mean": value, "spread": 0.01} for name, value in values.items()},
    }


BOARD: dict[str, Any] = {
    "made": "2026-01-02",
    "versions": {"torch": "2.13"},
    "target": "demo",
    "data_fingerprint": "d" * 64,
    "weights": {"original": "a" * 64},
    "scores": {
        "original": {"final_score": 0.3, "keeping": 1.0, "forgetting": 0.0},
        "retain_only": {"final_score": 0.9, "keeping": 1.0, "forgetting": 0.9},
    },
    "methods": [row("npo", 0.6, None), row("lethe", 0.9, 0.1), row("<b>x</b>", 0.7, 0.5, "collapsed")],
}


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (BEST_FIRST, ["lethe", "npo", "x"]),
        ("Final score", ["lethe", "x", "npo"]),
        ("Distance to the retain-only model", ["lethe", "x", "npo"]),
    ],
)
def test_rows_stand_in_the_order_asked_for(order: str, expected: list[str]) -> None:
    shown = board_table(BOARD, order)
    places = [shown.index(f">{name}<" if name != "x" else "&lt;b&gt;x&lt;/b&gt;") for name in expected]
    assert places == sorted(places)
    assert "<b>x</b>" not in shown


def test_the_words_of_the_leaderboard() -> None:
    assert_golden("leaderboard", made_with(BOARD), board_table(BOARD))


def audits(settings: dict[str, Any], *leaks: tuple[str, ...]) -> dict[str, Any]:
    """What audits found with these settings, one seed after the other."""
    return {"audits": {"settings": settings, "seeds": {str(n): found(names) for n, names in enumerate(leaks)}}}


def found(leaks: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"made": "2026-01-03", "applied": 15, "leaks": list(leaks)}


MANY = ("membership", "distance", "probes")
NPO, LETHE, WRECK = BOARD["methods"]
AUDITED: dict[str, Any] = BOARD | {
    "audits": {"rows": 60, "retain_only": found(), "original": found(MANY)},
    "methods": [
        NPO | audits({"beta": 0.1}, (), ("distance",), ()),
        LETHE | audits({"steps": 50}, ()),  # others by now
        WRECK | audits({}, MANY),
        row("idk", 0.8, None) | audits({}, ("distance",), ()),
    ],
}


def test_the_indistinguishable_come_first_and_those_not_audited_last() -> None:
    shown = board_table(AUDITED, audits={"distance": "Distance"})
    places = [shown.index(f">{name}<") for name in ("Retain-only", "npo", "idk")]
    places += [shown.index("&lt;b&gt;x"), shown.index(">lethe<")]
    assert places == sorted(places)
    assert_golden("leaderboard_audited", made_with(AUDITED), shown)
    by_score = board_table(AUDITED, "Final score")
    assert by_score.index(">lethe<") < by_score.index(">npo<")


def test_a_board_says_so_where_there_is_no_retain_only_model() -> None:
    without = BOARD | {"scores": {"original": BOARD["scores"]["original"]}}
    assert "no retain-only model" in made_with(without)
    assert "no retain-only model" not in made_with(BOARD)


def test_every_order_names_a_figure() -> None:
    for order in ORDERS:
        assert "lethe" in board_table(BOARD, order)


def test_the_figure_holds_every_method_and_both_reference_points() -> None:
    figure = board_figure(BOARD).to_dict()
    names = {name for trace in figure["data"] for name in trace.get("customdata", [trace["name"]])}
    assert {"npo", "lethe", "&lt;b&gt;x&lt;/b&gt;", "Original", "Retain-only"} <= names
    written = {name for trace in figure["data"] for name in trace.get("text", [])}
    assert written == {"lethe", "npo", ""}  # the third would stand on the name of a better one
    near = row("npo", 0.85, None)
    near["figures"]["forgetting"]["mean"] = 0.55
    crowded = board_figure(BOARD | {"methods": [row("lethe", 0.9, 0.1), near]}).to_dict()
    assert "lethe" in {name for trace in crowded["data"] for name in trace.get("text", [])}
    lethe = next(trace for trace in figure["data"] if "lethe" in trace.get("text", ()))
    assert lethe["x"][lethe["text"].index("lethe")] == 0.9


def test_methods_stand_in_the_figure_by_their_short_titles() -> None:
    figure = board_figure(BOARD, {"npo": {"title": "Negative preference optimisation (NPO)"}}).to_dict()
    names = {name for trace in figure["data"] for name in trace.get("customdata", ())}
    assert {"NPO", "lethe"} <= names
    assert "npo" not in names


def test_an_order_that_is_none_still_lists_the_methods() -> None:
    assert "lethe" in board_table(BOARD, None)  # type: ignore[arg-type]
