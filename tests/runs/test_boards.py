"""A leaderboard that methods join later: only such as were measured against the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.cli import main
from unlearn_core.errors import InputError
from unlearn_core.methods import REGISTRY
from unlearn_core.report.runs.leaderboard import board_table, made_with
from unlearn_core.runs.series.bench import LEADERBOARD, board_order
from unlearn_core.runs.series.boards import merged, read_board

FIGURES = {"final_score": 0.3, "task_aggregate": 0.0}


def row(method: str, final: float, verdict: str = "answers gone") -> dict[str, Any]:
    figures = {"final_score": {"mean": final, "spread": 0.0}}
    return {"method": method, "settings": {}, "num_seeds": 3, "verdicts": {verdict: 3}, "figures": figures}


def board(*rows: dict[str, Any], made: str = "2026-01-01", **changed: Any) -> dict[str, Any]:
    found = {
        "made": made,
        "versions": {"torch": made[:4]},
        "target": "demo",
        "data_fingerprint": "d" * 64,
        "weights": {"original": "a" * 64},
        "scores": {"original": FIGURES},
        "methods": list(rows),
    }
    return found | changed


def test_methods_join_in_their_places_and_replace_themselves() -> None:
    before = board(row("a", 0.9), row("b", 0.5), row("c", 0.99, "collapsed"))
    found = merged(before, board(row("d", 0.7), row("b", 0.95), made="2027-01-01"), board_order)
    assert [one["method"] for one in found["methods"]] == ["b", "a", "d", "c"]
    assert found["made"] == "2026-01-01"
    assert "b, d: measured 2027-01-01 with torch 2027." in made_with(found)
    assert "a, " not in made_with(found).split("by lethe bench.")[1]
    assert ">d<" in board_table(found)
    assert [one["method"] for one in before["methods"]] == ["a", "b", "c"]


def test_last_digits_and_a_figure_more_are_no_other_version() -> None:
    figures = FIGURES | {"final_score": 0.3 + 1e-9, "new_figure": 0.5}
    moved = board(row("b", 0.5), scores={"original": figures})
    assert len(merged(board(row("a", 0.9)), moved, board_order)["methods"]) == 2


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"scores": {"original": FIGURES | {"final_score": 0.31}}}, "another version of the scores"),
        ({"scores": {"original": {"final_score": 0.3}}}, "another version of the scores"),
        ({"data_fingerprint": "e" * 64}, "on other data"),
        ({"weights": {"original": "b" * 64}}, "on other weights"),
        ({"kind": "one person"}, "another kind"),
    ],
)
def test_rows_measured_otherwise_are_refused_in_words(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        merged(board(row("a", 0.9)), board(row("b", 0.5), **changed), board_order)


def test_what_is_no_leaderboard_is_refused_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text, words in (
        ("absent", None, "cannot be read"),
        ("text", "no JSON", "cannot be read"),
        ("list", "[]", "is not a leaderboard"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        arguments = ["--out", str(tmp_path / "bench"), "--into", str(tmp_path / name)]
        assert main(["bench", "--methods", "npo", *arguments]) == 2
        told = capsys.readouterr().err
        assert words in told
        assert f"--into ({tmp_path / name}): " in told
    assert not (tmp_path / "bench").exists()


def test_a_bench_puts_its_method_beside_another(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LETHE_HOME", str(tmp_path / "home"))
    for name in ("grad_diff", "npo"):
        monkeypatch.setattr(REGISTRY[name], "candidates", classmethod(lambda cls: ({"steps": 2},)))
    shared = ["--target", memorised.model, "--data", memorised.data, "--seeds", "1"]
    assert main(["bench", "--methods", "grad_diff", "--out", str(tmp_path / "one"), *shared]) == 0
    into = tmp_path / "one" / LEADERBOARD
    other = ["bench", "--methods", "npo", "--out", str(tmp_path / "two"), *shared, "--into"]
    assert main([*other, str(into)]) == 0
    joined = {one["method"]: one for one in read_board(into)["methods"]}
    assert joined.keys() == {"grad_diff", "npo"}
    assert ("made" in joined["npo"], "made" in joined["grad_diff"]) == (True, False)

    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(read_board(into) | {"data_fingerprint": "e" * 64}))
    assert main([*other, str(foreign)]) == 2
    assert "on other data" in capsys.readouterr().err
