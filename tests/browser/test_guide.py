"""The guide as a first visitor meets it, by keyboard; the formulas and the note beside the score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.ui.guide_panel import STEPS


def test_five_steps_by_keyboard_remembered_closed_and_opened_again(open_tab: Callable[..., Any]) -> None:
    tab = open_tab(width=360)
    page = tab.page
    title = page.locator("#le-guide-step h2")
    page.locator("#le-guide-step h2", has_text="1 of 5").wait_for()
    assert page.locator("#le-guide-back").is_disabled()
    for number, step in enumerate(STEPS[1:], start=2):
        page.focus("#le-guide-next")
        page.keyboard.press("Enter")
        page.locator("#le-guide-step h2", has_text=f"{number} of 5: {step.title}").wait_for()
    assert page.locator("#le-guide-next").inner_text() == "Done"
    page.reload()  # the browser remembers where it was
    page.locator("#le-guide-step h2", has_text="5 of 5").wait_for()
    page.focus("#le-guide-show")
    page.keyboard.press("Enter")
    page.locator("#le-attack-start").wait_for(state="visible")
    page.wait_for_function("document.activeElement.id === 'le-attack-start'")
    page.focus("#le-guide-close")
    page.keyboard.press("Enter")
    page.locator("#le-guide-open").wait_for()
    page.reload()
    page.locator("#le-guide-open").wait_for()
    assert not title.is_visible()
    page.focus("#le-guide-open")
    page.keyboard.press("Enter")
    page.locator("#le-guide-step h2", has_text="1 of 5").wait_for()
    assert tab.overflow() == 0


def test_a_formula_shows_on_hover_and_on_focus_until_escape_and_the_note_leads_to_the_terms(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    page = open_tab(f"?run={finished_run}").page
    page.locator("#le-breakdown .le-explained").first.wait_for()
    assert page.locator("#le-breakdown .le-explained").count() == 12
    final = page.get_by_role("button", name="Final score")
    tip = page.locator("#le-formula-final_score")
    assert not tip.is_visible()
    while not tip.is_visible():  # what is still loading moves the page under the pointer
        final.hover()
        page.wait_for_timeout(100)
    assert "/ 3" in tip.inner_text()
    term = page.locator("#le-breakdown .le-explained").first
    term.focus()
    of_term = page.locator("#le-formula-forget-Task1-regurgitation")
    of_term.wait_for(state="visible")
    page.keyboard.press("Escape")  # it may cover what somebody wants to read
    of_term.wait_for(state="hidden")
    page.locator("#le-breakdown .le-explained").last.focus()
    term.focus()
    of_term.wait_for(state="visible")
    tile = page.locator(".le-tile", has=final)
    tile.get_by_text("Why is this number misleading?").click()
    tile.get_by_role("link", name="See the twelve terms").click()
    page.wait_for_function("document.activeElement.id === 'le-twelve-terms'")
    assert "run=" in page.url
