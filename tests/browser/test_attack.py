"""The attack tab: from a finished run to its leakage card, and after a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_a_finished_run_is_attacked_and_the_card_survives_a_reload(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    run = finished_run
    tab = open_tab(f"?run={run}", width=360)
    page = tab.page
    page.locator(".overflow-menu > button").first.click()  # on a phone most tabs are in a menu
    page.locator(".overflow-dropdown button", has_text="Attack").first.click()
    page.wait_for_selector("#le-attack-progress :text('Not attacked yet')")
    assert page.locator("#le-attack-run input").input_value().count(run[:6]) == 1
    page.click("#le-attack-start")
    page.wait_for_selector("#le-attack-progress :text-is('Done')", timeout=180_000)
    card = page.locator("#le-leakage table")
    assert card.get_by_role("row").count() == 11
    assert "Linear probe" in card.inner_text()
    assert "not applicable" in card.inner_text()
    assert tab.overflow() <= 0
    assert not tab.problems

    again = open_tab(f"?run={run}")
    again.page.get_by_role("tab", name="Attack").click()
    again.page.wait_for_selector("#le-leakage table")
    assert again.page.locator("#le-leakage table").inner_text().count("not applicable") >= 3
    assert not again.external()
