"""The Probe tab without a run: sampling, the chat template, and what single tokens tell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from form_steps import choose_target


@pytest.fixture(scope="module")
def chatting(tmp_path_factory: pytest.TempPathFactory, tiny_target: str) -> str:
    """The tiny model with a tokenizer that brings a chat template."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("chatting")
    AutoModelForCausalLM.from_pretrained(tiny_target).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_target)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} [answer] {% endfor %}"
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_sampling_template_and_tokens(open_tab: Callable[..., Any], chatting: str) -> None:
    tab = open_tab()
    page = tab.page
    choose_target(page, chatting)
    page.get_by_role("tab", name="Probe").click()
    page.fill("#le-prompt textarea", "Where is Ada?")
    page.get_by_text("Sampling", exact=True).click()
    template = page.get_by_label("Chat template")
    template.wait_for()  # it is offered for a tokenizer that has one

    def answer(**settings: float) -> str:
        """What the model says with the settings by their labels."""
        for label, value in settings.items():
            page.get_by_role("spinbutton", name=label.replace("_", " ")).fill(str(value))
            page.keyboard.press("Tab")
        page.evaluate("document.querySelector('#le-answers [aria-busy]')?.setAttribute('data-old', '')")
        page.click("#le-ask")
        page.wait_for_selector("#le-answers [aria-busy=false]:not([data-old])")
        found: str = page.inner_text("#le-answers .le-output")
        return found

    greedy = answer(Longest_answer=12)
    drawn = answer(Temperature=2, Sampling_seed=1)
    assert drawn != greedy
    assert answer(Sampling_seed=2) != drawn
    assert answer(Sampling_seed=1) == drawn, "the same seed draws the same"
    assert template.is_checked(), "a model with a template is asked through it"
    template.uncheck()
    assert answer(Temperature=0) != greedy
    template.check()
    assert greedy.startswith(answer(Longest_answer=3))

    page.fill("#le-gold textarea, #le-gold input", "in Rome")
    page.click("#le-ask")
    tokens = page.locator("#le-tokens .le-token")
    tokens.nth(1).wait_for()
    assert not page.locator("#le-tokens .le-tip:visible").count()
    for reach in (tokens.nth(0).hover, tokens.nth(1).focus):
        reach()
        page.locator("#le-tokens .le-tip:visible", has_text="Likeliest here").first.wait_for()
        assert "rank" in page.locator("#le-tokens .le-tip:visible").first.inner_text()
    assert tab.problems == []


def test_a_field_that_was_emptied_is_named(open_tab: Callable[..., Any], tiny_target: str) -> None:
    page = open_tab("?tab=probe").page
    page.fill("#le-prompt textarea", "Where is Ada?")
    page.get_by_text("Sampling", exact=True).click()
    page.get_by_role("spinbutton", name="Longest answer").fill("")
    page.locator("#le-ask").dispatch_event("click")
    page.locator(".toast-body", has_text="Longest answer is empty. Enter a number from 1 to").wait_for()
