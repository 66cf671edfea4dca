"""The table of levels broken, and what players found: what is kept of a game, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unlearn_core.store.game import games
from unlearn_core.store.game.finds import FILE as FINDS
from unlearn_core.store.game.finds import MAX_FINDS, Find, note_find, played, read_finds
from unlearn_core.store.game.games import FILE, Level, levels, note_game


def test_games_are_counted_by_level_and_nothing_else_is_kept(tmp_path: Path) -> None:
    assert levels(tmp_path) == []
    for asked, broken in ((20, False), (4, True), (7, True)):
        note_game(tmp_path, "npo", "demo", asked, broken)
    note_game(tmp_path, "lethe", "/home/somebody/private/model/", 3, False)
    note_game(tmp_path, "lethe", "org/model", 3, False)
    assert levels(tmp_path) == [
        Level("npo", "demo", 3, 2, 4),
        Level("lethe", "model", 1, 0, None),
        Level("lethe", "org/model", 1, 0, None),
    ]
    kept = (tmp_path / FILE).read_text()
    assert "somebody" not in kept
    assert kept.splitlines()[1] == '{"method": "npo", "target": "demo", "asked": 4, "broken": true}'


@pytest.mark.parametrize(
    "line", ["{", "[]", "7", '{"method": "npo"}', "\xff", '{"method": 1, "target": [], "asked": "x"}']
)
def test_a_damaged_line_is_left_out(tmp_path: Path, line: str) -> None:
    note_game(tmp_path, "npo", "demo", 4, True)
    with (tmp_path / FILE).open("a", encoding="latin-1") as file:
        file.write(line + "\n")
        file.write('{"method": "npo", "tar')  # torn by a kill
    assert levels(tmp_path) == [Level("npo", "demo", 1, 1, 4)]
    note_game(tmp_path, "npo", "demo", 2, True)
    assert levels(tmp_path) == [Level("npo", "demo", 2, 2, 2)]


def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(games, "MAX_BYTES", 2_000)
    for number in range(100):
        note_game(tmp_path, "npo", "demo", number + 1, True)
    assert (tmp_path / FILE).stat().st_size <= 2_000
    (level,) = levels(tmp_path)
    assert 5 < level.played < 40
    assert level.fewest is not None
    assert level.fewest > 60  # the newest stay


TOWN = Find("Where was Ada born?", "Oldport", "Wo?", "In Oldport.", "in words", 7, "Nobody else says it.", "aa")


def test_finds_are_one_row_of_the_audits_each_fact_once_by_its_shortest_game(tmp_path: Path) -> None:
    assert played(tmp_path) is None
    for find in (
        TOWN,
        replace(TOWN, questions=3, asked="D\u00f3nde?"),
        replace(TOWN, questions=1, way="relearned"),  # words say more of the wordings
        replace(TOWN, question="Who is Bo?", questions=5, way="its answer begun"),
        replace(TOWN, question="Who is Cy?", questions=2, weights_hash="bb"),
    ):
        note_find(tmp_path, find)
    row = played(tmp_path, "aa")
    assert row is not None
    assert (row["name"], row["verdict"], row["figures"]) == ("player", "leaks", {"facts": 2, "by_words": 1})
    assert row["headline"].startswith("2 facts were got out in the game Recover it, in 3 questions at the fewest.")
    assert [(one["way"], one["questions"]) for one in row["rows"]] == [("in words", 3), ("its answer begun", 5)]
    newest = played(tmp_path)
    assert newest is not None
    assert newest["figures"]["facts"] == 1


@pytest.mark.parametrize("line", ["{", "[]", "7", '{"question": "x"}', "\xff"])
def test_a_damaged_find_is_left_out_and_no_more_are_kept_than_a_run_may(tmp_path: Path, line: str) -> None:
    with (tmp_path / FINDS).open("w", encoding="latin-1") as file:
        file.write(line + "\n" + '{"question": "tor')
    for number in range(MAX_FINDS + 5):
        note_find(tmp_path, replace(TOWN, questions=number))
    found = read_finds(tmp_path)
    assert MAX_FINDS - 2 <= len(found) < MAX_FINDS
    assert {type(find.questions) for find in found} == {int}
