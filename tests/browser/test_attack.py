"""The attack tab: from a finished run to its leakage card, and after a reload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.evaluation.audits import REGISTRY
from unlearn_core.evaluation.verdict import LAYERS


def test_a_finished_run_is_attacked_and_the_card_survives_a_reload(
    open_tab: Callable[..., Any], run_to_its_end: Callable[..., str], small_form: dict[str, Any]
) -> None:
    run = run_to_its_end(**small_form)
    tab = open_tab(f"?run={run}", width=360)
    page = tab.page
    last = ".le-layers tbody tr:last-child"
    before = page.text_content(f"#le-judged {last}")
    page.locator(".overflow-menu > button").first.click()  # on a phone most tabs are in a menu
    page.locator(".overflow-dropdown button", has_text="Attack").first.click()
    page.wait_for_selector("#le-attack-progress :text('Not attacked yet')")
    assert page.locator("#le-attack-run input").input_value().count(run[:6]) == 1
    page.click("#le-attack-start")
    page.wait_for_selector("#le-attack-progress :text-is('Done')", timeout=180_000)
    layers, card = page.locator("#le-leakage .le-verdict table"), page.locator("#le-leakage table.le-leakage")
    assert layers.locator("tbody tr").count() == len(LAYERS)
    assert card.locator("tbody tr").count() == len(REGISTRY)
    assert "Linear probe" in card.inner_text()
    assert "not applicable" in card.inner_text()
    assert tab.overflow() <= 0
    told = page.text_content(f"#le-leakage {last}")
    page.locator(".overflow-menu > button").first.click()
    page.locator(".overflow-dropdown button", has_text="Runs").first.click()
    page.wait_for_selector(f"#le-runs input[data-run='{run}']")
    page.get_by_role("tab", name="Unlearn", exact=True).click()
    assert told != before
    # Without a reload; the table may be folded.
    page.wait_for_function(f"(row) => document.querySelector('#le-judged {last}').textContent === row", arg=told)
    assert not tab.problems

    again = open_tab(f"?run={run}")
    again.page.get_by_role("tab", name="Attack").click()
    again.page.wait_for_selector("#le-leakage table.le-leakage")
    assert again.page.locator("#le-leakage table.le-leakage").inner_text().count("not applicable") >= 3
    assert not again.external()
