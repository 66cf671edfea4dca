"""The map of a run's subjects: pressed, by pointer and by keyboard, it asks; and it fits a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from form_steps import open_details
from test_accessibility import AXE, GRAVE

_OUTSIDE = """() => {
  const room = document.querySelector('#le-map .le-map-drawing').getBoundingClientRect();
  return [...document.querySelectorAll('#le-map .le-map-drawing .le-mark > *')]
    .map((one) => one.getBoundingClientRect())
    .filter((one) => one.left < room.left || one.right > room.right || one.top < room.top || one.bottom > room.bottom)
    .length;
}"""


def test_a_mark_is_asked_about_by_pointer_and_keyboard_and_has_an_address(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    tab = open_tab(f"?run={finished_run}")
    page = tab.page
    open_details(page)
    mark = page.locator("#le-map a.le-mark", has=page.locator("circle")).first
    mark.hover()
    page.wait_for_function("document.querySelector('.le-map-readout').textContent.includes('to forget')")
    subject = mark.get_attribute("data-subject")
    mark.click()
    page.wait_for_selector("#le-answers [aria-busy=false]")
    page.wait_for_url("**tab=probe**")
    page.wait_for_url("**about=**")
    asked = page.input_value("#le-prompt textarea")
    assert asked.startswith(subject[:20])  # a row about nobody is named by its prompt
    assert page.input_value("#le-gold textarea, #le-gold input").endswith("Moss")
    assert page.locator("#le-answers h3").all_inner_texts()
    fresh = open_tab("?" + page.url.partition("?")[2]).page
    fresh.wait_for_selector("#le-answers [aria-busy=false]")
    assert fresh.input_value("#le-prompt textarea") == asked
    page.go_back()
    page.wait_for_selector("#le-to-attack", state="visible")
    assert not [told for told in tab.problems if "422" not in told]

    slider = page.locator("#le-map .le-at")
    slider.focus()
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "the original"
    page.locator("#le-map summary").focus()
    page.keyboard.press("Enter")
    link = page.locator("#le-map td, #le-map th a").locator("visible=true").first
    link.wait_for()
    page.keyboard.press("Tab")  # the table itself, which scrolls
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('#le-map th a')")
    page.keyboard.press("Enter")
    page.wait_for_selector("#le-answers [aria-busy=false]")
    assert "tab=probe" in page.url


def test_the_map_fits_a_phone_and_axe_finds_nothing_serious_in_it(
    open_tab: Callable[..., Any], finished_run: str
) -> None:
    tab = open_tab(f"?run={finished_run}", width=360)
    open_details(tab.page)
    tab.page.wait_for_selector("#le-map .le-mark")
    assert tab.overflow() <= 0
    assert tab.page.evaluate(_OUTSIDE) == 0
    tab.page.locator("#le-map summary").click()
    tab.page.evaluate(AXE)
    for dark in (False, True):
        tab.page.evaluate("(dark) => document.body.classList.toggle('dark', dark)", dark)
        tab.page.wait_for_function("document.getAnimations().every((one) => one.playState !== 'running')")
        found = tab.page.evaluate("axe.run(document.querySelector('#le-map'), {resultTypes: ['violations']})")
        assert [rule["id"] for rule in found["violations"] if rule["impact"] in GRAVE] == []


def test_maps_of_two_runs_stand_side_by_side_and_move_together(
    open_tab: Callable[..., Any],
    finished_run: str,
    run_to_its_end: Callable[..., str],
    small_form: dict[str, Any],
) -> None:
    other = run_to_its_end(**small_form | {"settings": {"steps": 3}})
    page = open_tab(f"?compare={finished_run},{other}").page
    page.wait_for_selector("#le-maps .le-map >> nth=1")
    assert page.locator("#le-maps .le-map").count() == 2
    page.locator("#le-maps .le-at").fill("0")
    titles = page.locator("#le-maps figcaption output")
    assert titles.all_inner_texts() == ["the original", "the original"]
    hrefs = {page.locator(f"#le-maps .le-map >> nth={n}").locator("a").first.get_attribute("href") for n in (0, 1)}
    assert {finished_run in href for href in hrefs} == {True, False}
