"""Runs and comparing in a real browser: finished runs of a tiny model, made by a sweep from the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from gradio_client import Client

FACTS = "facts:Where is Ada? => Oldport\nWho is <b>Bo</b>? => a baker"


@pytest.fixture(scope="module")
def runs(server: str, tiny_target: str) -> list[str]:
    """Three finished runs: two seeds of one setting and one of another."""
    import time

    client = Client(server, verbose=False)
    found = []
    for steps, seed in ((2, 0), (2, 1), (3, 0)):
        form = {"target": tiny_target, "data": FACTS, "method": "grad_ascent", "seed": seed}
        form["settings"] = {"steps": steps}
        found.append(client.predict(**form, owner="", api_name="/start_run")["run_id"])
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        told = [client.predict(run, 0, api_name="/run_status")["status"] for run in found]
        if all(status == "finished" for status in told):
            return found
        time.sleep(0.3)
    raise AssertionError(told)


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (360, "dark")])
def test_runs_are_picked_and_compared(
    runs: list[str], open_tab: Callable[..., Any], width: int, theme: str
) -> None:
    tab = open_tab("", width, theme)
    page = tab.page
    if width < 600:  # tabs that find no room are in a menu
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown button", has_text="Runs").first.click()
    else:
        page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector("#le-runs tbody tr")
    page.click("#le-runs button[data-sort=name]")
    page.wait_for_selector("#le-runs th[aria-sort]")
    for run, told in ((runs[0], "1 run picked"), (runs[2], "2 runs picked")):
        page.check(f"#le-runs input[data-run='{run}']")
        page.locator("#le-picked", has_text=told).wait_for()
    page.click("#le-compare")
    page.wait_for_selector("#le-comparison table")
    assert "Final score" in page.inner_text("#le-comparison")
    assert "2 seeds" in page.inner_text("#le-comparison")
    page.wait_for_selector("#le-tradeoff .js-plotly-plot")
    page.wait_for_selector("#le-parallel .js-plotly-plot")
    page.fill("#le-compare-prompt textarea", "Where is Ada?")
    page.click("#le-compare-ask")
    page.wait_for_selector("#le-compare-answers [aria-busy=false]", timeout=180_000)
    assert page.locator("#le-compare-answers .le-answer-column").count() == 3
    assert tab.overflow() == 0
