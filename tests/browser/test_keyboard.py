"""What the keyboard alone can do on the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LISTS = "() => [...document.querySelectorAll('[role=listbox]')].filter((one) => one.checkVisibility()).length"
HERE = "document.activeElement.innerText.trim()"


def test_lists_folds_tabs_and_choices_are_in_reach_of_the_keyboard(open_tab: Callable[..., Any]) -> None:
    page = open_tab().page
    page.get_by_label("Target model").focus()
    page.wait_for_function(f"({LISTS})() === 1")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.getAttribute('aria-label') === 'Forget set'")
    page.wait_for_function(f"({LISTS})() === 1")  # that of the field it is on
    page.keyboard.press("Escape")
    page.wait_for_function(f"({LISTS})() === 0")
    for _ in range(8):  # the fields between it and the button, each of which opens its list and closes it
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "le-start":
            break
    assert page.evaluate("document.activeElement.id") == "le-start"
    page.wait_for_timeout(500)  # it opened once more within that time, and stayed
    page.wait_for_function(f"({LISTS})() === 0")

    page.get_by_role("button", name="Method settings", expanded=False).press("Enter")
    page.get_by_role("button", name="Method settings", expanded=True).wait_for()  # it says that it is open
    page.get_by_role("tab", name="Unlearn", exact=True).focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    assert page.evaluate(HERE) == "Data"
    page.keyboard.press("Enter")
    page.get_by_label("Bundled world", exact=True).focus()
    page.keyboard.press("ArrowLeft")
    assert page.get_by_label("Type facts").is_checked()
    page.locator("#le-typed").wait_for()
    page.get_by_role("tab", name="Methods", exact=True).click()
    page.locator("#le-methods .le-use").first.press("Enter")
    page.wait_for_function(f"{HERE} === 'Unlearn'")  # the focus follows a press to another tab

    page.locator(".show-api").press("Enter")
    page.locator(".api-docs").wait_for()
    page.keyboard.press("Escape")
    page.locator(".api-docs").wait_for(state="detached")


def test_escape_closes_the_menu_of_tabs_on_a_phone(open_tab: Callable[..., Any]) -> None:
    page = open_tab(width=360).page
    page.locator(".overflow-menu > button").first.press("Enter")
    menu = page.locator(".overflow-dropdown").first
    menu.wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    menu.wait_for(state="hidden")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "More tabs"
