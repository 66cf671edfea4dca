"""Runs and comparing in a real browser: finished runs of a tiny model, and a sweep from the page."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from form_steps import choose_target, type_facts

from unlearn_core import RunStore

FACTS = "facts:Where is Ada? => Oldport\nWho is <b>Bo</b>? => a baker"


@pytest.fixture(scope="module")
def runs(run_to_its_end: Callable[..., str], small_form: dict[str, Any]) -> list[str]:
    """Three finished runs: two seeds of one setting and one of another."""
    form = small_form | {"data": FACTS}
    settings = ((2, 0), (2, 1), (3, 0))
    return [run_to_its_end(**form | {"settings": {"steps": steps}, "seed": seed}) for steps, seed in settings]


def test_runs_are_picked_and_compared_on_a_phone(runs: list[str], open_tab: Callable[..., Any]) -> None:
    tab = open_tab("", 360, "dark")
    page = tab.page
    page.locator(".overflow-menu > button").first.click()  # tabs that find no room are in a menu
    page.locator(".overflow-dropdown button", has_text="Runs").first.click()
    page.wait_for_selector("#le-runs tbody tr")
    page.click("#le-runs button[data-sort=name]")
    page.wait_for_selector("#le-runs th[aria-sort]:has(button[data-sort=name])")
    for run, told in ((runs[0], "1 run picked"), (runs[2], "2 runs picked")):
        page.check(f"#le-runs input[data-run='{run}']")
        page.locator("#le-picked", has_text=told).wait_for()
    page.click("#le-compare")
    for told in ("Final score", "2 seeds"):
        page.locator("#le-comparison", has_text=told).wait_for()
    page.wait_for_selector("#le-tradeoff .js-plotly-plot")
    page.wait_for_selector("#le-settings-table table")
    page.fill("#le-compare-prompt textarea", "Where is Ada?")
    page.click("#le-compare-ask")
    page.wait_for_selector("#le-compare-answers [aria-busy=false]", timeout=180_000)
    assert page.locator("#le-compare-answers .le-answer-column").count() == 3
    assert tab.overflow() == 0


def test_beside_a_run_that_stands_alone_another_is_begun_by_keyboard(
    tiny_target: str,
    open_tab: Callable[..., Any],
    run_to_its_end: Callable[..., str],
    small_form: dict[str, Any],
) -> None:
    form = small_form | {"data": "facts:Where is Eve? => Westbury", "settings": {"steps": 1}}
    run = run_to_its_end(**form, seed=3, retain_data="general")
    tab = open_tab(f"?compare={run}")
    page = tab.page
    page.locator("#le-run-another").press("Enter")
    page.wait_for_selector("#le-start", state="visible")
    page.locator("#le-forecast", has_text="memory").wait_for()
    assert page.get_by_label("Target model").input_value() == tiny_target
    assert page.get_by_label("Forget set").input_value() == "Where is Eve?"
    page.get_by_text("Method settings").click()
    assert page.get_by_label("Seed", exact=True).input_value() == "3"
    page.get_by_label("Method", exact=True).first.click()
    page.get_by_role("option", name="Gradient difference (GradDiff)").click()
    page.click("#le-start")
    page.wait_for_selector("#le-to-compare")
    page.click("#le-to-compare")
    page.wait_for_selector("#le-comparison table")
    assert not page.locator("#le-run-another").is_visible()
    assert not tab.problems


def test_what_is_ticked_is_what_is_picked_whatever_table_comes(
    runs: list[str], open_tab: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table asked for before a tick comes after it; then one with its rows in another order."""
    page = open_tab("").page
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector(f"#le-runs input[data-run='{runs[0]}']")
    asked, ticked, read = threading.Event(), threading.Event(), RunStore.rows

    def late(store: RunStore, query: Any) -> Any:
        store.label(runs[2], None, name="Renamed meanwhile")
        found = read(store, query)
        asked.set()
        ticked.wait(60)
        return found

    monkeypatch.setattr(RunStore, "rows", late)
    page.get_by_role("button", name="Refresh").click()
    assert asked.wait(60)
    page.check(f"#le-runs input[data-run='{runs[0]}']")
    page.locator("#le-picked", has_text="1 run picked").wait_for()
    ticked.set()
    page.locator("#le-runs", has_text="Renamed meanwhile").wait_for()
    assert page.is_checked(f"#le-runs input[data-run='{runs[0]}']")
    page.check(f"#le-runs input[data-run='{runs[1]}']")
    page.locator("#le-picked", has_text="2 runs picked").wait_for()
    for direction in ("ascending", "descending"):
        page.click("#le-runs button[data-sort=created]")
        page.wait_for_selector(f"#le-runs th[aria-sort={direction}]:has(button[data-sort=created])")
        ticked_now = "() => [...document.querySelectorAll('#le-runs input:checked')].map((box) => box.dataset.run)"
        assert sorted(page.evaluate(ticked_now)) == sorted(runs[:2])
    page.get_by_role("button", name="Pick none").click()
    page.locator("#le-picked", has_text="Pick 2 to").wait_for()
    page.wait_for_function("() => !document.querySelector('#le-runs input:checked')")


def test_a_sweep_is_started_from_the_page_and_its_runs_are_compared(
    tiny_target: str, open_tab: Callable[..., Any]
) -> None:
    page = open_tab("").page
    choose_target(page, tiny_target)
    type_facts(page, "Where is Cy? => Nordhaven\nWho is Di? => a cooper")
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.click("#le-sweep > button")
    page.get_by_label("Method swept").click()
    page.get_by_role("option", name="Gradient ascent (GA)").click()
    page.get_by_label("First setting", exact=True).click()
    page.get_by_role("option", name="learning_rate", exact=True).click()
    page.get_by_label("First setting's values").fill("1e-5, 1e-3")
    page.click("#le-sweep-start")
    page.locator("#le-sweep-progress", has_text="Sweep done").wait_for(timeout=300_000)
    told = page.inner_text("#le-sweep-progress")
    assert "2 finished" in told
    tag = told.split("Tag: ")[1].strip()
    page.get_by_role("button", name="Refresh").click()
    for value in ("1e-5", "1e-3"):
        row = page.locator("#le-runs tr", has_text=tag).filter(has_text=f"learning_rate={value}")
        row.get_by_role("checkbox").check()
    page.locator("#le-picked", has_text="2 runs picked").wait_for()
    page.click("#le-compare")
    page.wait_for_selector("#le-comparison table")
    for value in ("1e-5", "1e-3"):
        page.locator("#le-comparison", has_text=value).wait_for()


# Whether the keyboard is on what a selector names, how that is outlined, and whether it is nowhere.
_HERE = """(selector) => {
  const on = document.activeElement;
  return [on.matches(selector), getComputedStyle(on).outlineStyle, on === document.body];
}"""


def test_runs_are_found_named_tagged_and_deleted_by_keyboard(runs: list[str], open_tab: Callable[..., Any]) -> None:
    """Tab, Enter, Space and typing only; wherever the keyboard is, it shows."""
    tab = open_tab("")
    page = tab.page

    def reach(selector: str) -> None:
        """Press Tab until the keyboard is on `selector`."""
        for _ in range(150):
            page.keyboard.press("Tab")
            here = page.evaluate(_HERE, selector)
            assert here[1] == "solid" or here[2]
            if here[0]:
                return
        raise AssertionError(f"the keyboard does not come to {selector}")

    def ready(selector: str) -> None:
        page.wait_for_selector(f"{selector}:not([disabled])")

    page.get_by_role("tab", name="Runs", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(f"#le-runs input[data-run='{runs[2]}']")
    reach("#le-search textarea, #le-search input")
    page.keyboard.type("grad_ascent nowhere")
    page.get_by_text("No run fits this filter").wait_for()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("grad_ascent")
    page.wait_for_selector(f"#le-runs input[data-run='{runs[2]}']")
    reach(f"input[data-run='{runs[2]}']")
    page.keyboard.press("Space")
    page.locator("#le-picked", has_text="1 run picked").wait_for()
    reach("#le-edit > button")
    page.keyboard.press("Enter")
    page.wait_for_selector("#le-new-name:visible")
    reach("#le-new-name textarea, #le-new-name input")
    page.keyboard.type("<i>Three</i> steps")
    reach("#le-new-tags textarea, #le-new-tags input")
    page.keyboard.type("long, kept")
    ready("#le-label")
    reach("#le-label")
    page.keyboard.press("Enter")
    row = page.locator("#le-runs tr", has_text="<i>Three</i> steps")
    row.locator(".le-tag", has_text="kept").wait_for()
    reach("#le-delete")
    page.keyboard.press("Enter")
    ready("#le-sure")
    reach("#le-sure")
    page.keyboard.press("Enter")
    row.wait_for(state="detached")
    runs.pop()
    assert not [told for told in tab.problems if "422" not in told]
