"""Who may play which run, and what a visitor takes by it."""

from __future__ import annotations

import pytest

from unlearn_core.data.types import Example
from unlearn_core.errors import InputError
from unlearn_core.evaluation.game import Game
from unlearn_core.report.kit.format import short_method
from unlearn_core.service.games import MAX_GAMES, Games
from unlearn_core.service.recover import Played, Recover
from unlearn_core.service.studio import Studio

ADA, BO = "a-secret-that-is-ada's", "a-secret-that-is-bo's"


def test_a_strangers_run_is_no_level_on_a_public_page(public_studio: Studio) -> None:
    run = public_studio.submit(public_studio.choices.spec("demo", "facts:Where is Ada? => Oldport", "npo", {}), ADA)
    assert public_studio.worker.wait(run)
    recover = Recover(public_studio)
    assert recover.runs(BO) == recover.runs("") == []
    for owner in (BO, ""):
        with pytest.raises(InputError, match="here for you"):
            recover.begin(run, owner, 0)
        with pytest.raises(InputError, match="here for you"):
            next(recover.ask(Game(run, Example("1", "Where is Ada?", "Oldport")), "Where?", "", owner))
        with pytest.raises(InputError, match="here for you"):
            next(recover.relearn(Game(run, Example("1", "Where is Ada?", "Oldport")), owner))
    with pytest.raises(InputError, match="no question that the original model answers right"):
        recover.begin(run, ADA, 0)  # a scripted run, which was not scored


def test_each_players_last_game_is_kept_for_them_alone_until_they_delete_their_data(public_studio: Studio) -> None:
    games, recover = public_studio.games, Recover(public_studio)
    game = Game("a-run", Example("1", "Where is Ada?", "Oldport"))
    games.keep(ADA, Played(game), "on-screen")
    given_up = recover.give_up(game, ADA)
    assert games.of(ADA) == (Played(given_up), "on-screen")
    games.keep("", Played(game), "on-screen")  # a page that has no secret yet
    assert games.of(BO) == games.of("") == (None, "")
    public_studio.delete_mine(ADA)
    assert games.of(ADA) == (None, "")


def test_of_too_many_games_the_longest_untouched_goes() -> None:
    games, played = Games(), Played(Game("a-run", Example("1", "Where is Ada?", "Oldport")))
    for owner in (ADA, BO, *map(str, range(MAX_GAMES - 2)), ADA, "one more"):
        games.keep(owner, played)
    assert games.of(ADA)[0] is played
    assert games.of(BO)[0] is None


@pytest.mark.parametrize(
    ("title", "short"),
    [
        ("Negative preference optimisation (NPO)", "NPO"),
        ("Lethe (matched forgetting)", "Lethe"),
        ("SimNPO", "SimNPO"),
    ],
)
def test_a_method_is_called_by_its_short_name(title: str, short: str) -> None:
    assert short_method(title) == short
