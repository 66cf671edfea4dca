"""What a visitor does to fill in the first form, used by several tests."""

from __future__ import annotations

import contextlib
from typing import Any

from playwright.sync_api import TimeoutError as Late


def open_details(page: Any) -> None:
    """Unfold what stands under a result."""
    page.wait_for_selector("#le-to-attack")
    fold = page.locator("#le-details > button")
    for _ in range(9):  # a page that is still loading may fold it once more
        if "open" not in (fold.get_attribute("class") or "").split():
            fold.click()
        with contextlib.suppress(Late):
            page.wait_for_selector("#le-judged table, #le-side-by-side p", timeout=10_000)
            return
    raise AssertionError("the details were never unfolded")


def choose_target(page: Any, folder: str) -> None:
    if page.locator("#le-knows").is_visible():
        page.wait_for_selector("#le-knows .le-said")  # by then the list of models has arrived
    page.get_by_label("Target model").fill(folder)
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")  # a list that opened again must not cover the page


def type_facts(page: Any, facts: str) -> None:
    page.get_by_role("tab", name="Data").click()
    page.get_by_label("Type facts").check()
    page.fill("#le-typed textarea", facts)
    page.get_by_label("Bundled general facts").check()
    page.get_by_role("button", name="Check the data").click()
    page.wait_for_selector("#le-preview table")
    page.get_by_role("button", name="Use it as the forget set").click()
    page.wait_for_selector("#le-start", state="visible")


def set_steps(page: Any, steps: int) -> None:
    page.get_by_text("Method settings").click()
    page.get_by_label("Steps").fill(str(steps))
    page.keyboard.press("Tab")
    page.wait_for_timeout(400)
