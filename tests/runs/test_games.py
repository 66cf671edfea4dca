"""The table of levels broken: what is kept of a game, and what is left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from unlearn_core.store import games
from unlearn_core.store.games import FILE, Level, levels, note_game


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
