"""axe-core on every tab, empty and with a finished run, light and dark; charts have names."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import axe_playwright_python
from form_steps import open_details
from playwright.sync_api import TimeoutError as Late

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
GRAVE = ("serious", "critical")
# What must be there before a tab is looked at, so that nothing is judged half drawn.
READY = {
    "Unlearn": "#le-start",
    "Probe": "#le-ask",
    "Data": "text=Check the data",
    "Attack": "#le-attack-progress p, #le-leakage table",  # whether or not another test attacked the newest run
    "Recover": "#le-game :is(h3, p)",
    "Runs": "#le-runs :is(table, p)",
    "Compare": "#le-comparison p",
    "Methods": "#le-methods .le-method",
    "Leaderboard": "#le-gallery table",
    "Published runs": "#le-published table",
}
WITH_A_RUN = {"Unlearn": "#le-to-attack", "Compare": "#le-settings-table table"}
OPEN_FOLDS = """() => {
  const shown = [...document.querySelectorAll('details')].filter((fold) => fold.checkVisibility());
  for (const fold of shown.slice(0, 8)) fold.open = true;
  for (const fold of document.querySelectorAll('button.label-wrap:not(.open)')) fold.click();
}"""
NAMELESS = """() => [...document.querySelectorAll('.js-plotly-plot')]
  .filter((plot) => plot.getAttribute('role') !== 'figure' || !plot.getAttribute('aria-label')).length"""


def findings(page: Any, where: str, rules: list[str] | None = None) -> list[str]:
    """What axe finds grave, as text that names place, rule and element; by all rules for None."""
    only = {"runOnly": rules} if rules else {}
    found = page.evaluate("(asked) => axe.run(document, asked)", {"resultTypes": ["violations"], **only})
    return [
        f"{where}: {rule['impact']} {rule['id']} at {node['target']}: {node['html'][:120]}"
        for rule in found["violations"]
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]


def ask_until(page: Any, words: str, told: str) -> None:
    """Type again where the field was drawn anew under the first typing, as on a busy machine."""
    for _ in range(9):
        for text in ("", words):
            page.fill("#le-method-words input, #le-method-words textarea", text)
        with contextlib.suppress(Late):
            page.locator("#le-methods [role=status]", has_text=told).wait_for(timeout=10_000)
            return
    raise AssertionError(f"the methods were never narrowed to {words}")


def look_at(page: Any, ready: dict[str, str]) -> list[str]:
    """Every tab of `ready` with all folds open, in the light and then in the dark."""
    page.evaluate(AXE)
    found = []
    for name, selector in ready.items():
        page.get_by_role("tab", name=name, exact=True).click()
        page.locator(selector).first.wait_for()
        if name == "Methods":  # the cards are alike: a few will do
            ask_until(page, "guardrail", "3 methods of")
        page.evaluate(OPEN_FOLDS)
        for theme, rules in (("light", None), ("dark", ["color-contrast"])):  # other rules see no colours
            page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", theme == "dark")
            page.wait_for_function("document.getAnimations().every((one) => one.playState !== 'running')")
            found += findings(page, f"{name}, {theme}", rules)
        page.wait_for_function(f"({NAMELESS})() === 0")
    return found


def test_axe_finds_nothing_serious_before_any_run(open_tab: Callable[..., Any]) -> None:
    assert look_at(open_tab(width=1400).page, READY) == []


def test_axe_finds_nothing_serious_beside_a_finished_run(open_tab: Callable[..., Any], finished_run: str) -> None:
    page = open_tab(f"?run={finished_run}", width=1400).page
    page.locator(WITH_A_RUN["Unlearn"]).first.wait_for()
    open_details(page)
    page.get_by_role("button", name="Behind the curves").click()
    page.click("#le-ask-numbers")
    page.locator("#le-numbers table").first.wait_for(state="attached")
    same = ("Methods", "Leaderboard", "Published runs", "Data")  # what no run changes
    ready = {name: WITH_A_RUN.get(name, place) for name, place in READY.items() if name not in same}
    assert look_at(page, ready) == []
