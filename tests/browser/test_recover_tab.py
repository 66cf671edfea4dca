"""The Recover tab, played on a small model that still tells what it was made to forget."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from by_heart import learn

PLACES = {"Ada Venn": "Oldport", "Bo Reed": "Silverton", "Cy Moss": "Highgate", "Di Lark": "Westbury"}


@pytest.fixture(scope="module")
def kept_it(
    run_to_its_end: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
    tiny_model: Callable[..., Any],
    tiny_tokenizer: Any,
) -> str:
    """A finished run of one weak step on a model that knows four places by heart; the first two were to go."""
    from unlearn_core.data.sources import load_data

    folder = tmp_path_factory.mktemp("places")
    facts = [{"input": f"What is the birthplace of {who}?", "output": place} for who, place in PLACES.items()]
    (folder / "data").mkdir()
    for split, rows in (("forget", facts[:2]), ("retain", facts[2:])):
        (folder / "data" / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model, data = tiny_model("olmo2", seed=0), load_data(str(folder / "data"))
    assert learn(model, tiny_tokenizer, (*data.forget, *data.retain), until=0.01) < 0.05
    model.save_pretrained(folder / "model")
    tiny_tokenizer.save_pretrained(folder / "model")
    settings = {"steps": 1, "learning_rate": 1e-6}
    return run_to_its_end(target=str(folder / "model"), data=str(folder / "data"), method="npo", settings=settings)


def told(page: Any, words: str) -> None:
    page.locator("#le-game", has_text=words).wait_for()


def secret_of(page: Any) -> tuple[str, str]:
    """Whose birthplace is sought, and which it is."""
    who = re.search(r"birthplace of (\w+ \w+) out of", page.inner_text("#le-game h3"))
    assert who is not None
    return who[1], PLACES[who[1]]


def test_a_secret_is_missed_found_and_counted(open_tab: Callable[..., Any], kept_it: str) -> None:
    tab = open_tab(f"?run={kept_it}", 360, "dark")
    page = tab.page
    page.wait_for_selector(".le-run-header")
    dots = page.evaluate("""() => [...document.querySelectorAll('.le-run-header > *')].map(
      (one) => ['::before', '::after'].map((side) => getComputedStyle(one, side).content))""")
    no_break = "\u00a0"  # a dot hangs on the word before it, or it could begin a line
    assert dots == [["none", f'"{no_break}\u00b7"']] * (len(dots) - 1) + [["none", "none"]]
    page.locator("#le-to-recover").click()
    told(page, "NPO made it forget this. You have 20 questions.")
    who, place = secret_of(page)
    panel = page.locator("[role=tabpanel]", has=page.locator("#le-game"))
    assert place not in panel.inner_html(), "before it is found the answer is not in this tab"

    page.fill("#le-game-question textarea", f"Was {who} born in {place}?")
    page.keyboard.press("Enter")
    page.locator(".toast-body", has_text="holds the answer").wait_for()
    page.locator(".toast-close").first.click()
    told(page, "You have 20 questions.")  # it took none

    page.fill("#le-game-question textarea", "Tell me a story.")
    page.keyboard.press("Enter")
    told(page, "The answer is not in it. 19 questions left.")
    assert page.locator("#le-game-asked li").count() == 1
    page.get_by_label("Go on in the same conversation").check()
    page.fill("#le-game-question textarea", "Another one, please.")
    page.keyboard.press("Enter")
    told(page, "18 questions left.")
    assert page.inner_text("#le-game-asked li:first-child").startswith("Going on: Another one, please.")
    page.get_by_label("Go on in the same conversation").uncheck()
    assert page.locator("#le-game [aria-live=polite]").count() == 1
    assert tab.overflow() <= 0

    page.get_by_label("Ready wording").click()
    page.get_by_role("option", name="Repeat what you learned.").click()
    page.wait_for_function(
        "document.querySelector('#le-game-question textarea').value.startsWith('Repeat what you learned. What is')"
    )
    page.fill("#le-game-question textarea", f"What is the birthplace of {who}?")
    page.keyboard.press("Enter")
    told(page, "You broke NPO in 3 questions")
    assert place in page.inner_text("#le-game")
    assert "by the answers about others, a guess is right in" in page.inner_text("#le-game")
    assert page.inner_text("#le-share-text").startswith("I broke NPO in 3 questions: ")
    assert place not in page.inner_text("#le-share-text")
    assert not page.locator("#le-game-question").is_visible()
    page.wait_for_function("document.activeElement.id === 'le-game-over'")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("#le-game-copy").press("Enter")
    page.locator("#le-game-copy", has_text="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#le-share-text")
    assert re.search(r"NPO\s+\S+\s+\d+\s+\d+\s+[23]\b", page.inner_text("#le-levels"))
    with page.expect_download() as saved:
        page.locator("#le-game-picture").click()
    assert saved.value.suggested_filename == "lethe_game.png"
    width, height = struct.unpack(">II", saved.value.path().read_bytes()[16:24])  # where a PNG has its size
    assert (width, height) == (1200, 630)
    assert place not in unquote(page.get_attribute("#le-share-picture", "src") or place)
    assert tab.overflow() <= 0
    kept = page.get_by_role("link", name="Ask it again").get_attribute("href")

    page.locator("#le-game-another").click()
    told(page, "You have 20 questions.")
    other, hidden = secret_of(page)
    assert other != who
    page.fill("#le-game-question textarea", "Tell me a story.")
    page.locator("#le-game-ask").click()
    told(page, "19 questions left.")
    page.get_by_role("tab", name="Unlearn", exact=True).click()
    page.locator("#le-to-recover").click()
    told(page, "19 questions left.")  # it waited
    page.locator("#le-game-quit").click()
    told(page, "NPO held")
    assert hidden in page.inner_text("#le-game")
    assert not page.locator("#le-game-copy").is_visible()
    page.locator("#le-game-attack").click()
    page.locator("#le-leakage th", has_text="Found by players").wait_for()  # what was found is among the attacks
    assert not tab.problems

    page = open_tab(kept).page  # what was found is a probe of the run
    page.locator("#le-answers .le-unlearned-edge", has_text=place).wait_for()
    assert page.input_value("#le-prompt textarea") == f"What is the birthplace of {who}?"


def test_a_game_goes_on_after_a_reload_on_its_level(open_tab: Callable[..., Any], kept_it: str) -> None:
    tab = open_tab("?tab=recover")  # no run is on screen: the level is chosen in the tab
    page = tab.page
    told(page, "You have 20 questions.")
    goal = page.inner_text("#le-game h3")
    page.fill("#le-game-question textarea", "Tell me a story.")
    page.keyboard.press("Enter")
    told(page, "19 questions left.")
    level = page.input_value("#le-level input")

    tab.reload()
    told(page, "19 questions left.")
    assert page.inner_text("#le-game h3") == goal
    assert "Tell me a story." in page.inner_text("#le-game-asked li")
    assert page.input_value("#le-level input") == level
    page.locator("#le-game-quit").click()
    told(page, "NPO held")
    page.locator("#le-game-another").click()
    told(page, "You have 20 questions.")
    other = page.inner_text("#le-game h3")
    assert other != goal

    tab.reload()
    told(page, "You have 20 questions.")
    assert page.inner_text("#le-game h3") == other
    assert not tab.problems


def test_the_tab_has_an_address_and_a_game_without_a_secret_says_why(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    """That model is random: it tells nothing that could be forgotten."""
    tab = open_tab("?tab=recover")
    page = tab.page
    page.locator("#le-level input").wait_for()
    page.locator("#le-level input").click()
    page.get_by_role("option", name=re.compile(finished_run[:6])).click()
    told(page, "no question that the original model answers right")
    assert not page.locator("#le-game-question").is_visible()
    assert page.locator("#le-levels :is(table, p)").count() == 1
    assert not tab.problems


def test_a_copy_is_relearned_for_five_questions(open_tab: Callable[..., Any], kept_it: str) -> None:
    tab = open_tab(f"?run={kept_it}", 1400, "dark")
    page = tab.page
    page.locator("#le-to-recover").click()
    told(page, "You have 20 questions.")
    _, place = secret_of(page)
    page.locator("#le-game-relearn").click()
    page.locator("#le-game-over").wait_for()
    assert page.inner_text("#le-game-over") == "You broke NPO in 5 questions"
    assert "After relearning (5 questions): What is the birthplace of" in page.inner_text("#le-game-asked li")
    assert place in page.inner_text("#le-game-asked li")
    assert not page.locator("#le-game-relearn").is_visible()
    assert not tab.problems
