"""One run on the bundled model as a visitor sees it: one click, live curves, verdict, side by side.

The run takes most of the time of this folder, so all that can be seen of one run is looked at here, in
the order it happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from unlearn_core.models.targets import bundled_directory

MINUTES = 5  # a busy machine may take its time
_POINTS = "() => document.querySelector('#le-losses .js-plotly-plot')?.data?.[0]?.x?.length ?? 0"


@dataclass
class Seen:
    """What was noticed during the run."""

    run_id: str
    first_points: int
    later_points: int
    after_reload: str
    second_viewer: str
    second_may_stop: bool
    second_is_told: bool
    external: list[str]
    problems: list[str]


@pytest.fixture(scope="module")
def finished(chromium: Any, server: str) -> Seen:
    """Press the button on the bundled model and watch to the end."""
    folder = bundled_directory("demo")
    if folder is None or not folder.is_dir():
        pytest.skip("the bundled model is not in this checkout")
    requests: list[str] = []
    problems: list[str] = []
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(MINUTES * 60_000)
    page.on("request", lambda asked: requests.append(asked.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
    page.goto(server)
    page.wait_for_selector("#le-knows .le-said")
    page.click("#le-start")
    page.wait_for_url("**run=*")
    run_id = page.url.split("run=")[1].split("&")[0]
    page.wait_for_function(f"({_POINTS})() > 0")
    first = page.evaluate(_POINTS)

    page.reload()
    page.wait_for_function(f"({_POINTS})() > {first}")
    later = page.evaluate(_POINTS)
    after_reload = page.inner_text("#le-progress")

    other = chromium.new_context(viewport={"width": 1200, "height": 900})
    viewer = other.new_page()
    viewer.goto(f"{server}/?run={run_id}")
    viewer.wait_for_selector("#le-progress [role=progressbar]", timeout=180_000)
    second, may_stop = viewer.inner_text("#le-progress"), viewer.locator("#le-stop").is_visible()
    told = viewer.locator("#le-theirs", has_text="Only the browser that started it").is_visible()
    other.close()

    page.wait_for_selector("#le-verdict h2")
    page.wait_for_selector("#le-side-by-side .le-item")
    context.close()
    return Seen(run_id, first, later, after_reload, second, may_stop, told, requests, problems)


def test_the_curve_grows_and_survives_a_reload(finished: Seen) -> None:
    assert 0 < finished.first_points < finished.later_points
    assert "step" in finished.after_reload


def test_a_second_viewer_sees_the_run_but_may_not_stop_it(finished: Seen) -> None:
    assert "tokens/s" in finished.second_viewer
    assert not finished.second_may_stop
    assert finished.second_is_told


def test_no_request_leaves_the_machine_and_nothing_goes_wrong(finished: Seen) -> None:
    hosts = {url.split("/")[2].split(":")[0] for url in finished.external if url.startswith("http")}
    assert hosts == {"127.0.0.1"}
    assert finished.problems == []


def test_the_verdict_says_forgotten_with_its_figures(finished: Seen, open_tab: Callable[..., Any]) -> None:
    page = open_tab(f"?run={finished.run_id}").page
    page.wait_for_selector("#le-side-by-side .le-item")
    page.locator("#le-guide-open").wait_for()  # who follows a link sees the run, not the first visit
    assert not page.locator("#le-guide").is_visible()
    assert page.inner_text("#le-verdict h2") == "Forgotten"
    assert page.locator("#le-verdict .le-tile").count() == 4
    assert page.locator("#le-breakdown .le-terms tbody tr").count() == 14  # twelve terms under two headings
    assert "lethe run" in page.inner_text("#le-command")


def test_the_same_prompts_side_by_side(finished: Seen, open_tab: Callable[..., Any]) -> None:
    page = open_tab(f"?run={finished.run_id}").page
    cards = page.locator("#le-side-by-side .le-item")
    cards.first.wait_for()
    assert cards.first.locator(".le-answer-column").count() == 3
    before = cards.count()
    page.click("#le-more")
    page.wait_for_function(f"document.querySelectorAll('#le-side-by-side .le-item').length > {before}")
    page.get_by_label("Retained", exact=True).check()
    page.wait_for_selector("#le-side-by-side mark.le-kept")
    page.get_by_label("Forgotten, asked in a new way").check()
    page.wait_for_function("document.querySelector('#le-side-by-side').innerText.includes('still leak')")


def test_both_models_answer_a_prompt(finished: Seen, open_tab: Callable[..., Any]) -> None:
    page = open_tab(f"?run={finished.run_id}").page
    page.wait_for_selector("#le-side-by-side .le-item")
    prompt = page.inner_text("#le-side-by-side .le-item .le-question >> nth=0")
    page.get_by_role("tab", name="Probe").click()
    page.fill("#le-prompt textarea", prompt)
    page.click("#le-ask")
    page.wait_for_selector("#le-answers [aria-busy=false]", timeout=180_000)
    assert page.locator("#le-answers .le-answer-column").count() == 3
    assert page.locator("#le-answers .le-output").all_inner_texts()[0].strip()


def test_a_probe_shows_tokens_layers_and_ways_and_comes_back_by_its_link(
    finished: Seen, open_tab: Callable[..., Any]
) -> None:
    page = open_tab(f"?run={finished.run_id}").page
    page.wait_for_selector("#le-side-by-side .le-item")
    page.get_by_role("tab", name="Probe").click()
    page.click("#le-fact input")
    page.get_by_role("option").first.click()
    page.wait_for_function("document.querySelector('#le-prompt textarea').value.length > 0")
    prompt = page.input_value("#le-prompt textarea")
    page.click("#le-ask")
    page.wait_for_selector("#le-ways thead th >> nth=3", timeout=180_000)
    page.focus("#le-tokens .le-token >> nth=0")
    assert "rank 1" in page.locator("#le-tokens .le-token").first.inner_text()
    assert page.locator("#le-tokens .le-token-row").count() == 3
    page.wait_for_function("document.querySelector('#le-layers .js-plotly-plot')?.data?.length === 3")
    page.wait_for_selector("#le-steps .js-plotly-plot")
    assert "leak" in page.inner_text(".le-ways-told")
    page.click("#le-read-traces")
    page.wait_for_selector("#le-traces table", timeout=180_000)
    assert "neurons" in page.inner_text("#le-traces")
    page.click("#le-save-probe")
    page.wait_for_url("**probe=*")
    again = open_tab("?" + page.url.split("?")[1]).page
    again.wait_for_selector("#le-ways table", timeout=180_000)
    assert again.input_value("#le-prompt textarea") == prompt


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_the_result_without_sideways_scrolling(
    finished: Seen, open_tab: Callable[..., Any], theme: str
) -> None:
    tab = open_tab(f"?run={finished.run_id}", 360, theme)
    tab.page.wait_for_selector("#le-side-by-side .le-item")
    tab.page.wait_for_timeout(500)
    assert tab.overflow() == 0
    red, green, blue = tab.page.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )[:3]
    assert (red + green + blue < 120) == (theme == "dark")


def test_the_run_is_listed(finished: Seen, open_tab: Callable[..., Any]) -> None:
    page = open_tab().page
    page.get_by_role("tab", name="Runs", exact=True).click()
    link = page.locator(f"#le-runs a[href='?run={finished.run_id}']")
    link.wait_for()
    assert "forgotten" in page.inner_text("#le-runs")
