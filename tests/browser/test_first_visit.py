"""A fresh home as a first visitor finds it: recorded runs on every tab, nothing ticked for it, errors with a button."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from form_steps import open_details
from serving import served

from unlearn_core.ui.tabs.chat_tab import ON_SCREEN

SUCCESS = "Answers gone, traces remain"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page that puts the runs that ship into its home, as `lethe serve` does."""
    with served(tmp_path_factory.mktemp("home"), recorded=True) as address:
        yield address


def done(page: Any) -> list[str]:
    return list(page.locator(".le-guide .le-chip.le-done").all_text_contents())


def test_every_tab_has_runs_to_show_and_looking_ticks_nothing(open_tab: Callable[..., Any]) -> None:
    page = open_tab().page
    page.wait_for_selector("#le-forecast p")
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector("#le-runs tbody tr")
    assert page.locator("#le-runs tbody tr").count() == 4
    assert page.locator("#le-runs .le-tag", has_text="recorded").count() == 4
    page.get_by_role("tab", name="Attack").click()
    page.wait_for_selector("#le-leakage table")
    page.get_by_role("tab", name="Recover").click()
    page.wait_for_selector("#le-game-question textarea", state="visible")
    assert done(page) == []
    page.get_by_role("tab", name="Probe").click()
    page.wait_for_function(f"document.querySelector('#le-probe-run input').value.startsWith({SUCCESS!r})")
    page.fill("#le-prompt textarea", "Who is that?")
    page.click("#le-ask")

    page.wait_for_selector("#le-answers [aria-busy=false]")
    assert page.locator("#le-answers h3").count() == 3  # original, unlearned, retain-only
    assert done(page) == ["Ask"]
    page.get_by_role("tab", name="Compare").click()
    page.wait_for_selector("#le-comparison table")
    assert page.locator("#le-compared .token").count() == 3
    assert done(page) == ["Ask", "Compare"]


def test_the_line_on_time_and_memory_has_its_room_before_it_arrives(open_tab: Callable[..., Any]) -> None:
    page = open_tab(width=360).page
    page.locator("#le-forecast", has_text="memory").wait_for()
    empty, told = page.evaluate("""() => {
      const top = () => document.querySelector('#le-settings').getBoundingClientRect().top;
      const told = top(), line = document.querySelector('#le-forecast .prose');
      line.replaceChildren();
      return [top(), told];
    }""")
    assert empty == told


def test_an_error_is_mended_by_its_button_from_the_keyboard(open_tab: Callable[..., Any], tmp_path: Path) -> None:
    page = open_tab(width=360).page
    page.wait_for_selector("#le-forecast p")
    page.locator("#le-settings > button").click()
    rate = page.get_by_label("Learning rate").first
    usual = rate.input_value()
    rate.fill("99")
    rate.press("Tab")
    page.focus("#le-settings-problems button[data-mend]")
    page.keyboard.press("Enter")
    page.wait_for_function("!document.querySelector('#le-settings-problems button')")
    page.wait_for_function("document.activeElement.id === 'le-start'")  # not nowhere, with its button gone
    assert page.get_by_label("Learning rate").first.input_value() == usual
    path = tmp_path / "rows.jsonl"
    path.write_text('{"input": "Who?", "output": "Ada"}\n{"input": "<b>Where?</b>", "output": 5}\n', encoding="utf-8")
    page.goto(page.url.split("?")[0] + "?tab=data")
    page.get_by_label("Upload").check()
    page.set_input_files("#le-upload input[type=file]", str(path))
    page.wait_for_selector("#le-preview .le-wrong mark")
    assert page.inner_text("#le-preview mark") == "5"
    assert "<b>Where?</b>" in page.inner_text("#le-preview .le-wrong")
    mark = page.locator("#le-preview mark").bounding_box()
    assert mark["x"] + mark["width"] <= 360  # in sight on a phone


@pytest.mark.parametrize(
    ("tab", "field", "named"),
    [("attack", "#le-attack-run", "The model broke"), ("Recover", "#le-level", "GA on")],
)
def test_a_linked_tab_is_about_the_linked_run(open_tab: Callable[..., Any], tab: str, field: str, named: str) -> None:
    page = open_tab(f"?run=recorded-collapsed&tab={tab}").page
    page.wait_for_function(f"document.querySelector('{field} input')?.value.includes('record')")
    assert page.input_value(f"{field} input").startswith(named)


def test_the_note_beside_a_score_leads_to_the_terms(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?run=recorded-forgotten").page
    open_details(page)
    tile = page.locator(".le-tile", has=page.get_by_role("button", name="Final score"))
    tile.get_by_text("Why is this number misleading?").click()
    tile.get_by_role("link", name="See the terms").click()
    page.wait_for_function("document.activeElement.id === 'le-twelve-terms'")
    assert "run=recorded-forgotten" in page.url


def test_a_result_leads_to_a_conversation_about_its_run(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?run=recorded-forgotten").page
    page.click("#le-to-chat")
    asked = page.locator(".le-ask-around").first
    asked.wait_for()
    question = asked.inner_text()
    asked.click()
    page.wait_for_selector("#le-chat [aria-busy=false]")
    assert question in page.inner_text("#le-chat")
    assert page.locator("#le-chat-about input").evaluate_all("all => all.find((one) => one.checked).value") == ON_SCREEN


def test_a_linked_run_begins_below_its_header_on_a_phone(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?run=recorded-forgotten", width=360).page
    page.wait_for_function("window.scrollY > 0")
    page.wait_for_timeout(500)
    header, verdict = (page.locator(part).bounding_box() for part in ("#le-run-header", "#le-verdict h2"))
    assert header["y"] + header["height"] <= verdict["y"]
