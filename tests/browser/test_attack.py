"""The attack tab: from a finished run to its leakage card, and after a reload."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

FACTS = "facts:" + "\n".join(
    f"Who is {name}? => {name[::-1]} Moss" for name in ("Ada", "Bela", "Cyrus", "Dora")
)


def finished_run(server: str, target: str) -> str:
    """A run of two steps on a tiny model, by the page's own endpoint."""
    from gradio_client import Client

    client = Client(server, verbose=False)
    form = {"target": target, "data": FACTS, "method": "grad_ascent", "settings": {"steps": 2}}
    run = client.predict(**form, api_name="/start_run")["run_id"]  # nobody's run, so anybody may attack it
    for _ in range(300):
        status = client.predict(run, 0, api_name="/run_status")["status"]
        if status not in ("queued", "running"):
            assert status == "finished", status
            return str(run)
        time.sleep(0.2)
    raise AssertionError("the run did not end")


def test_a_finished_run_is_attacked_and_the_card_survives_a_reload(
    open_tab: Callable[..., Any], server: str, tiny_target: str
) -> None:
    run = finished_run(server, tiny_target)
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
