"""The Chat tab: a recorded run's questions and answers, on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

OUTSIDE = """() => [...document.querySelectorAll('.le-ask-around')].filter((one) => one.checkVisibility()
  && one.getBoundingClientRect().right > one.parentElement.getBoundingClientRect().right + 1).length"""


def test_without_a_run_on_screen_it_says_where_to_make_one(open_tab: Callable[..., Any]) -> None:
    page = open_tab("?tab=chat").page
    page.locator("#le-chat-about").get_by_label("The run on screen").check()
    page.locator("#le-chat", has_text="No run is on screen. Make the model forget under Unlearn").wait_for()


def test_a_recorded_conversation_fits_a_phone(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("?tab=chat", width=360)
    page = tab.page
    page.locator(".le-tag", has_text="Recorded").wait_for()
    assert page.locator(".le-ask-around:visible").count() >= 3
    assert page.evaluate(OUTSIDE) == 0
    assert page.locator(".le-answer-column:visible").count() == 2
    assert page.locator("mark.le-leak").count() > 0, "the original says the name"
    assert tab.overflow() <= 0
    assert not tab.problems
