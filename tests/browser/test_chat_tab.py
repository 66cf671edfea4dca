"""The Chat tab: a recorded run's questions and answers, on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from unlearn_core.ui.tabs.chat_tab import ON_SCREEN

OUTSIDE = """() => [...document.querySelectorAll('.le-ask-around')].filter((one) => one.checkVisibility()
  && one.getBoundingClientRect().right > one.parentElement.getBoundingClientRect().right + 1).length"""


def test_a_recorded_conversation_fits_a_phone_and_without_a_run_there_is_none(open_tab: Callable[..., Any]) -> None:
    tab = open_tab("?tab=chat", width=360)
    page = tab.page
    page.locator(".le-tag", has_text="Recorded").wait_for()
    assert page.locator(".le-ask-around:visible").count() >= 3
    assert page.evaluate(OUTSIDE) == 0
    assert page.locator(".le-answer-column:visible").count() == 2
    assert page.locator("mark.le-leak").count() > 0, "the original says the name"
    assert tab.overflow() <= 0
    page.locator("#le-chat-about").get_by_label(ON_SCREEN).check()
    page.locator("#le-chat [role=status]").wait_for()
    assert not tab.problems
