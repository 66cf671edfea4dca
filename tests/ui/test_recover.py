"""Who may play which run, and what a visitor takes by it."""

from __future__ import annotations

import pytest

from unlearn_core.data.types import Example
from unlearn_core.errors import InputError
from unlearn_core.evaluation.game import Game
from unlearn_core.report.run.recover import short_method
from unlearn_core.service.recover import Recover
from unlearn_core.service.studio import Studio

ADA, BO = "a-secret-that-is-ada's", "a-secret-that-is-bo's"


def test_a_strangers_run_is_no_level_on_a_public_page(public_studio: Studio) -> None:
    run = public_studio.submit(public_studio.spec("demo", "facts:Where is Ada? => Oldport", "npo", {}), ADA)
    assert public_studio.worker.wait(run, 20)
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
