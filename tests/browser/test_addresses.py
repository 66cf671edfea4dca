"""Addresses: every tab and comparison has its own, Back goes where one was, a frame shows the run alone; and what a
link looks like where it is shared."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from typing import Any

from unlearn_core import methods


def test_tabs_are_in_the_address_and_back_returns(open_tab: Callable[..., Any], finished_run: str) -> None:
    page = open_tab(f"?run={finished_run}").page
    page.wait_for_selector("#le-to-attack")
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_url(f"**/?run={finished_run}&tab=runs")
    page.get_by_role("tab", name="Leaderboard").click()
    page.wait_for_url("**&tab=gallery")
    page.wait_for_selector("#le-gallery table")
    page.go_back()
    page.wait_for_selector("#le-runs table", state="visible")
    assert page.url.endswith("&tab=runs")
    page.go_back()
    page.wait_for_selector("#le-to-attack", state="visible")
    assert "tab=" not in page.url


def test_a_tab_and_a_comparison_are_opened_by_their_links(open_tab: Callable[..., Any], finished_run: str) -> None:
    page = open_tab("?tab=methods&words=npo").page
    page.locator("#le-methods [role=status]", has_text=f"of {len(methods.REGISTRY)}").wait_for()
    assert "npo" in page.inner_text("#le-methods").lower()
    page = open_tab(f"?compare={finished_run}").page
    page.wait_for_selector("#le-compared", state="visible")
    page.locator("#le-compared", has_text=finished_run[:6]).wait_for()
    page = open_tab("?board=lume&order=Task aggregate").page
    page.wait_for_selector("#le-gallery table")
    assert page.get_by_role("radio", name="Task aggregate").is_checked()
    assert "LUME" in page.get_by_role("combobox", name="Target model").input_value()
    page.get_by_role("combobox", name="Target model").click()
    page.get_by_role("option", name="Bundled model", exact=True).click()
    page.wait_for_url(lambda address: "board=" not in address)


def test_a_frame_shows_the_run_without_the_page_around_it(open_tab: Callable[..., Any], finished_run: str) -> None:
    page = open_tab(f"?run={finished_run}&embed=1").page
    page.wait_for_selector("#le-verdict h2")
    for part in ("header.le-header", "[role=tablist]", "#le-new", ".le-guide"):
        assert not page.locator(part).first.is_visible()


def test_a_shared_link_has_lethes_own_title_words_and_picture(server: str) -> None:
    with urllib.request.urlopen(f"{server}/") as answer:
        text = answer.read().decode()
    head = text.partition("</head>")[0]
    assert head.count('property="og:title"') == 1
    assert "Lethe: make a language model forget" in head
    assert "Click to try out the app" not in head
    assert "githubusercontent" not in head
    with urllib.request.urlopen(f"{server}/share.png") as answer:
        assert answer.headers["content-type"] == "image/png"
        assert answer.read(4) == b"\x89PNG"


def test_a_link_to_no_tab_leads_to_the_first_where_a_method_is_found_by_its_short_name(
    open_tab: Callable[..., Any],
) -> None:
    page = open_tab("?tab=nothing-of-this-name").page
    page.wait_for_selector("#le-start", state="visible")
    page.wait_for_selector("#le-knows .le-said")
    field = page.get_by_label("Method", exact=True)
    for typed, found in (("npo", "(NPO)"), ("ga", "(GA)"), ("graddiff", "(GradDiff)")):
        field.click()
        page.wait_for_function("getSelection().toString().length > 0 || document.activeElement.selectionEnd > 0")
        page.keyboard.type(typed)
        first = page.get_by_role("option").first
        page.wait_for_function(f"document.querySelector('[role=option]')?.textContent.includes({found!r})")
        assert found in first.inner_text()
        page.keyboard.press("Escape")
        page.evaluate("document.activeElement.blur()")


def test_the_leaderboard_is_searched_sorted_and_linked(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?tab=gallery").page
    page.wait_for_selector("#le-gallery table")
    assert "come first" in page.inner_text("#le-gallery p.le-muted")
    assert page.locator("#le-gallery a[href*='arxiv.org']").count() > 10
    heads = page.locator("#le-gallery thead th").all_inner_texts()
    page.get_by_role("button", name="Utility").click()
    page.locator("#le-gallery th[aria-sort=descending]").wait_for()
    cells = page.locator(f"#le-gallery tbody td:nth-child({heads.index('Utility') + 1})").all_inner_texts()
    numbers = [float(words.split()[0]) for words in cells]
    assert numbers == sorted(numbers, reverse=True)
    page.get_by_role("searchbox").fill("SimNPO")
    page.wait_for_function(
        "[...document.querySelectorAll('#le-gallery tbody tr')].filter((row) => row.checkVisibility()).length === 1"
    )
