"""Subjects to pick on the page, and what the model knows of the choice before anything is started."""

from __future__ import annotations

from pathlib import Path

from unlearn_core.service.choices import EVERYBODY, NOBODY
from unlearn_core.service.studio import Studio


def form(data: str, subject: str = "", target: str = "demo") -> tuple[object, ...]:
    return target, data, "lethe", {}, {}, 0, "auto", "", subject


def test_the_page_offers_the_subjects_of_the_data_and_knows_what_the_model_tells(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    offered = studio.choices.subjects("demo")
    assert offered[0] == EVERYBODY
    assert ("Ferek Rudlow: 5 facts", "Ferek Rudlow") in offered
    assert studio.choices.subjects("facts:Who keeps the key? => Ada") == [EVERYBODY]
    real = studio.choices.subjects("demo", target="smollm2")
    assert real[0] == NOBODY
    assert ("Albert Einstein, person", "Albert Einstein") in real
    assert len(real) > 60
    assert studio.choices.method_for("smollm2", "demo", "lethe") == "lethe_pretrained"
    assert studio.choices.method_for("demo", "demo", "lethe_pretrained") == "lethe"
    assert studio.choices.method_for("smollm2", "demo", "npo") == "npo"
    assert studio.choices.method_for("smollm2", "upload:of-a-run", "lethe_pretrained") == "lethe_pretrained"
    assert studio.choices.method_for("someone/model", "demo", "lethe_pretrained") == "lethe_pretrained"
    assert studio.choices.method_for("someone/model", "demo", "lethe") == "lethe_pretrained"  # as `lethe run` has it
    assert studio.choices.method_for("someone/model", "upload:of-a-run", "lethe") == "lethe"
    assert studio.choices.spec(*form("demo", "Ferek Rudlow")).subject == "Ferek Rudlow"  # type: ignore[arg-type]

    told, may_start = studio.choices.known_now(*form("demo", "Ferek Rudlow"))
    assert may_start
    assert "It tells 5 of these 5 facts" in told
    assert "1962-08-28" in told
    half = "facts:What is the phone number of Ferek Rudlow? => 5559778\nWhat is the SSN of Ferek Rudlow? => 9"
    told, may_start = studio.choices.known_now(*form(half))
    assert may_start
    assert "It tells 1 of these 2 facts" in told
    assert told.count("Not known") == 1
    told, may_start = studio.choices.known_now(*form("facts:Who keeps the key of Xanadu? => Ada"))
    assert not may_start
    assert "nothing to forget" in told
    assert studio.choices.known_now(*form("demo", target="elsewhere")) == ("", True)
    studio.close()
