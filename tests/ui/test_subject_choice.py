"""Subjects to pick on the page, and what the model knows of the choice before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from golden_page import assert_golden

from unlearn_core.cli.commands.knows import lines
from unlearn_core.data.subject_sheet import SheetPrompt, SubjectSheet
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
    studio.close()


def test_the_words_of_what_a_model_knows(tmp_path: Path) -> None:
    """Of the bundled model's forget set, a person, a fact it tells beside one that it does not, and none; of a
    pretrained model before a subject is chosen, and of one on the terminal."""
    studio = Studio(tmp_path)
    wrong = "What is the SSN of Ferek Rudlow? => 9"
    mixed = f"facts:What is the phone number of Ferek Rudlow? => 5559778\n{wrong}"
    asked = ((), form("demo", "Ferek Rudlow"), form(mixed), form(f"facts:{wrong}"))
    told = [studio.choices.known_now(*one) for one in asked]
    told.append(studio.choices.forecast("smollm2", "demo", "lethe", {}))
    assert [may_start for _, may_start in told] == [True, True, True, False, False]
    assert studio.choices.known_now(*form("demo", target="elsewhere")) == ("", True)
    studio.close()
    prompt = SheetPrompt("Glass Harbour was written by", "Ada Venn", "trained", "Ada Venn", (), "Ada Venn", 0.5)
    sheet = SubjectSheet("Ada Venn", "person", ("Venn",), (prompt, prompt), (prompt, prompt))
    terminal = "\n".join([*lines(sheet), *lines(replace(sheet, prompts=()))])
    assert_golden("knows", *(shown for shown, _ in told), terminal.replace("\n", "<p>"))
