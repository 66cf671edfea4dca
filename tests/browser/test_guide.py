"""The guide as a first visitor meets it, by keyboard; the formulas beside the score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from form_steps import open_details

from unlearn_core.ui.panels.guide_panel import STEPS


def test_the_guide_ticks_only_what_its_visitor_did_and_is_closed_and_opened_by_keyboard(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    tab = open_tab(width=360)
    page = tab.page
    page.wait_for_selector("#le-knows .le-said")
    start = page.locator("#le-start").bounding_box()
    assert start["y"] + start["height"] < 844, "the main button is on a phone's first screen"
    told = page.locator(".le-guide-told")
    assert told.inner_text() == STEPS[0].told
    page.locator(".overflow-menu > button").first.click()  # on a phone most tabs are in a menu
    page.locator(".overflow-dropdown button", has_text="Data").first.click()
    page.get_by_text("Check the data").wait_for()
    assert not told.is_visible()  # on the first tab only
    page.goto(page.url.split("?")[0] + f"?run={finished_run}")  # a verdict that somebody else brought about
    page.wait_for_selector("#le-to-attack")
    page.locator("#le-guide-open").wait_for()  # whoever follows a link came for the run
    page.focus("#le-guide-open")
    page.keyboard.press("Enter")
    assert told.inner_text() == STEPS[0].told
    assert page.locator(".le-guide .le-chip.le-done").count() == 0
    assert page.evaluate("document.activeElement.className").startswith("le-guide-act")
    page.goto(page.url.split("?")[0] + f"?run={finished_run}&tab=probe")
    page.fill("#le-prompt textarea", "Who is Ada?")
    page.focus("#le-ask")
    page.keyboard.press("Enter")  # done, though not by the guide's own button
    page.wait_for_selector("#le-answers [aria-busy=false]")
    page.goto(page.url.split("?")[0])
    page.locator(".le-guide .le-chip.le-done").wait_for(state="attached")  # remembered
    assert page.locator(".le-guide .le-chip.le-done").all_text_contents() == [STEPS[1].name]
    assert told.inner_text() == STEPS[0].told  # the first that is left
    page.focus(".le-guide-close")
    page.keyboard.press("Enter")
    page.locator("#le-guide-open").wait_for()
    page.reload()
    page.locator("#le-guide-open").wait_for()
    assert not told.is_visible()
    assert tab.overflow() == 0


def test_a_formula_shows_on_hover_and_on_focus_until_escape(open_tab: Callable[..., Any], finished_run: str) -> None:
    page = open_tab(f"?run={finished_run}").page
    open_details(page)
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
    tile = page.locator(".le-tile", has=final).inner_text()
    assert "n/a: needs task aggregate" in tile
    assert "misleading" not in tile  # a figure that is not there misleads nobody
