"""The methods in a real browser: found by words, read, and one press away from the form of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.methods import REGISTRY


def test_a_method_is_found_read_and_used(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    page = tab.page
    page.get_by_role("tab", name="Methods", exact=True).click()
    cards = page.locator("#le-methods .le-method")
    cards.nth(len(REGISTRY) - 1).wait_for()
    page.fill("#le-method-words input, #le-method-words textarea", "input filter capitalised")
    page.locator("#le-methods [role=status]", has_text="1 method of").wait_for()
    assert "changes no weight" in cards.first.inner_text()
    cards.first.get_by_text("1 setting").click()
    assert cards.first.get_by_role("row").count() == 2
    cards.first.get_by_role("button", name="Use Guardrail: input filter").press("Enter")
    page.locator("#le-start").wait_for(state="visible")
    page.wait_for_function(
        "[...document.querySelectorAll('.le-setup input')].some(i => i.value.startsWith('Guardrail: input'))"
    )
    page.click("#le-settings button")
    page.locator("#le-settings :text('Refuses every prompt')").wait_for()
    assert not tab.external()
    assert not tab.problems
