"""What a player sees: the task, every question with its answer, and how it ended."""

from __future__ import annotations

from dataclasses import replace

from golden_page import assert_golden

from unlearn_core.data.types import Example
from unlearn_core.evaluation.game import Ask, Control, Game
from unlearn_core.report.run.answers.recover import asks_view, game_view, levels_table
from unlearn_core.store.game.games import Level

NEW = Game("run-1", Example("1", "Where is <b>Ada</b>?", "Oldport"))
TRIED = replace(NEW, asks=(Ask("Where?", "", "In <i>Cob</i>.", False), Ask("Once more?", "Ada is", "", False)))
FOUND = replace(TRIED, asks=(*TRIED.asks, Ask("Where is she?", "", "Oldport", True, relearned=True)))


def test_the_words_of_a_game() -> None:
    luck = Control("A model that never knew it says so too.", True)
    ends = (
        FOUND,
        replace(FOUND, control=luck),
        replace(TRIED, given_up=True),
        replace(NEW, given_up=True),
    )
    views = [game_view(game, "NPO", "the bundled model", probe="1") for game in (NEW, TRIED, *ends)]
    assert_golden("recover", *views, asks_view(FOUND), levels_table([Level("npo", "demo", 3, 1, 7)], {}, {}))


def test_what_is_posted_tells_neither_question_nor_answer() -> None:
    shared = game_view(FOUND, "NPO", "the bundled model").partition("le-shared")[2]
    assert "Ada" not in shared
    assert "Oldport" not in shared
