"""What visitors do besides watching: stop a run, give bad files, follow dead links, write markup."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from form_steps import choose_target, open_details, set_steps, type_facts

FACTS = "Where is Ada? => Oldport\nWho is <img src=x onerror=window.__xss=1>? => {{7*7}} ${7*7} <b>Bo</b>"


def test_a_run_outlives_its_browser_and_is_started_and_stopped_by_keyboard(
    open_tab: Callable[..., Any], tiny_target: str
) -> None:
    page = open_tab().page
    choose_target(page, tiny_target)
    type_facts(page, FACTS)
    set_steps(page, 100_000)
    page.get_by_label("Method", exact=True).focus()
    page.keyboard.press("Tab")  # not to the long list of methods, which closes then
    assert page.evaluate("document.activeElement.id") == "le-start"
    page.keyboard.press("Enter")
    page.locator("#le-progress", has_text="of 100000").wait_for()
    link = f"?{page.url.partition('?')[2]}"
    kept = page.context.storage_state()  # what a browser keeps when it is closed
    page.context.close()

    back = open_tab(link, kept=kept).page
    back.locator("#le-progress", has_text="of 100000").wait_for()

    def step() -> int:
        found = re.search(r"([\d,]+) of 100000", back.inner_text("#le-progress"))
        return int(found[1].replace(",", "")) if found else 0

    back.wait_for_function(
        "seen => Number((document.querySelector('#le-progress').innerText.match(/([\\d,]+) of 100000/)"
        " || [0, '0'])[1].replace(',', '')) > seen",
        arg=step(),
    )
    back.focus("#le-stop")  # whoever started it may still stop it
    back.keyboard.press("Enter")
    back.wait_for_selector("#le-verdict h2")
    assert back.inner_text("#le-verdict h2").startswith("Stopped after step")
    assert not back.locator("#le-stop").is_visible()


def test_training_ends_early_and_is_scored_and_what_people_wrote_stays_text(
    open_tab: Callable[..., Any], tiny_target: str
) -> None:
    page = open_tab().page
    choose_target(page, tiny_target)
    type_facts(page, FACTS)
    page.get_by_role("tab", name="Data").click()
    assert "{{7*7}} ${7*7} <b>Bo</b>" in page.inner_text("#le-preview")
    page.get_by_role("tab", name="Unlearn").click()
    set_steps(page, 100_000)
    page.click("#le-start")
    page.locator("#le-progress", has_text="of 100000").wait_for()
    page.click("#le-early")
    page.wait_for_selector("#le-to-attack", timeout=180_000)
    open_details(page)
    assert page.locator("#le-judged .le-tile").count() == 4
    assert "<b>Bo</b>" in page.inner_text("#le-side-by-side")
    assert page.evaluate("window.__xss") is None
    assert page.locator("#le-side-by-side img, #le-facts img, #le-preview img").count() == 0


def test_a_bad_upload_is_explained_and_the_next_run_works(
    open_tab: Callable[..., Any], tiny_target: str, tmp_path: Path
) -> None:
    page = open_tab().page
    bad, good = tmp_path / "bad.jsonl", tmp_path / "good.jsonl"
    bad.write_text('{"id": "a1qa0", "input": "Where?"}\n')
    rows = [{"id": f"{n}qa0", "input": f"Where is {n}?", "output": "Oldport", "task": "Task1"} for n in "ab"]
    good.write_text("\n".join(map(json.dumps, rows)))
    page.get_by_role("tab", name="Data").click()
    page.get_by_label("Upload", exact=True).check()
    page.set_input_files("#le-upload input[type=file]", str(bad))
    problem = page.locator("#le-preview .le-problem")
    problem.wait_for()
    assert "output" in problem.inner_text()
    assert page.get_by_role("button", name="Use it as the forget set").is_disabled()
    page.get_by_label("Remove").first.click() if page.get_by_label("Remove").count() else None
    page.get_by_label("Clear").first.click() if page.get_by_label("Clear").count() else None
    page.set_input_files("#le-upload input[type=file]", str(good))
    page.wait_for_selector("#le-preview table")
    page.get_by_role("button", name="Use it as the forget set").click()
    choose_target(page, tiny_target)
    set_steps(page, 2)
    page.get_by_label("Method", exact=True).click()
    page.get_by_role("option", name="Gradient ascent (GA)").click()
    page.wait_for_timeout(800)
    page.get_by_label("Steps").fill("2")
    page.keyboard.press("Tab")
    page.wait_for_timeout(400)
    page.click("#le-start")
    page.wait_for_selector("#le-to-attack", timeout=180_000)


def test_what_cannot_be_is_explained_and_leaves_no_run(open_tab: Callable[..., Any]) -> None:
    """A dead link, a value out of range and an unknown model, one after the other."""
    page = open_tab("?run=not-a-run-that-exists").page
    page.locator(".toast-body", has_text="is not a run").wait_for()
    page.locator(".toast-title", has_text="No such run").wait_for()
    assert page.locator("#le-knows").is_visible()
    assert page.title() == "Lethe"
    assert page.locator("h1").count() == 1
    page.locator(".toast-close").first.click()
    page.locator(".toast-body").wait_for(state="detached")

    page.get_by_text("Method settings").click()
    page.get_by_label("Learning rate").fill("7")
    page.keyboard.press("Tab")
    problem = page.locator("#le-settings-problems .le-problem")
    problem.wait_for()
    assert re.search(r"Learning rate 7.* is out of range\..*0 to 1", problem.inner_text())
    beside = page.locator(".le-wrong-field", has=page.get_by_label("Learning rate"))
    assert problem.locator("p").inner_text() in beside.inner_text()
    page.click("#le-start")
    toast = page.locator(".toast-body")
    toast.wait_for()
    assert "out of range" in toast.inner_text()
    page.locator(".toast-title", has_text="This cannot be run").wait_for()
    assert toast.inner_text().count("This cannot be run") == 1
    page.get_by_label("Learning rate").fill("0.001")
    page.wait_for_function("!document.querySelector('.le-wrong-field')")

    choose_target(page, "/no/such/model")
    page.click("#le-start")
    page.locator(".toast-body", has_text="Target /no/such/model is neither a model's name").wait_for()
    assert page.evaluate("new URLSearchParams(location.search).get('run')") in (None, "not-a-run-that-exists")


def test_a_table_with_other_columns_is_mapped_in_the_page(
    open_tab: Callable[..., Any], tiny_target: str, tmp_path: Path
) -> None:
    page = open_tab().page
    table = tmp_path / "facts.csv"
    table.write_text("Frage,Antwort\nWo liegt es?,Bonn\nWer war es?,Ada\n")
    page.get_by_role("tab", name="Data").click()
    page.get_by_label("Upload", exact=True).check()
    page.set_input_files("#le-upload input[type=file]", str(table))
    page.locator("#le-preview .le-problem").wait_for()
    for label, column in (("Prompt", "Frage"), ("Answer", "Antwort")):
        page.locator("#le-columns").get_by_label(label, exact=True).click()
        page.get_by_role("option", name=column, exact=True).click()
        page.wait_for_timeout(500)
    page.wait_for_selector("#le-preview table")
    assert "Forget set: 2 rows" in page.inner_text("#le-preview")
    page.get_by_label("Bundled general facts", exact=True).check()
    page.get_by_role("button", name="Check the data").click()
    page.wait_for_function("document.querySelector('#le-preview').innerText.match(/Retain set: \\d+ rows/) !== null")
    page.get_by_role("button", name="Use it as the forget set").click()
    page.wait_for_selector("#le-start", state="visible")
    choose_target(page, tiny_target)
    page.wait_for_function("document.querySelector('#le-target-note').innerText.includes('million parameters')")


def test_published_runs_teach_to_distrust_the_score(open_tab: Callable[..., Any]) -> None:
    tab = open_tab()
    page = tab.page
    page.get_by_role("tab", name="Published runs").click()
    page.wait_for_selector("#le-published tbody tr")
    page.wait_for_selector("#le-published-plot .js-plotly-plot")
    rows = page.locator("#le-published tbody tr")
    wrecks = page.locator("#le-published tr.le-wreck").count()
    assert rows.count() == 153
    assert "collapsed" in rows.first.inner_text()
    page.get_by_label("Official score, wrecks left out").check()
    page.wait_for_function(f"document.querySelectorAll('#le-published tbody tr').length === {153 - wrecks}")
    assert page.locator("#le-published tr.le-wreck").count() == 0
    assert tab.external() == []
