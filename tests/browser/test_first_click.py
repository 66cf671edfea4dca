"""One run on the bundled model as a visitor sees it: one click, the fade, the result, and its details.

The run takes most of the time of this folder, so all that can be seen of one run is looked at here, in
the order it happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from form_steps import open_details

from unlearn_core.models.catalogue import bundled_directory

MINUTES = 5  # a busy machine may take its time
SELDOM = {"polling": 250}  # milliseconds; else each frame is drawn for the question alone, which takes a core
_STRENGTH = """() => Math.min(...[...document.querySelectorAll('#le-fade .le-forget-edge .le-piece')]
  .map((piece) => Number(piece.style.getPropertyValue('--p'))))"""
_POINTS = "() => document.querySelector('#le-losses .js-plotly-plot')?.data?.[0]?.x?.length ?? 0"


@dataclass
class Seen:
    """What was noticed during the run."""

    run_id: str
    first_points: int
    later_points: int
    faded: float  # strength of the weakest token of a forgotten answer
    after_reload: str
    second_viewer: str
    second_may_stop: bool
    second_is_told: bool
    carriers: int  # components without a face that came to light with the details
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
    page.wait_for_selector("#le-fade .le-forget-edge .le-piece")
    page.wait_for_function(f"({_POINTS})() > 0", **SELDOM)
    first = page.evaluate(_POINTS)

    page.reload()
    page.wait_for_function(f"({_POINTS})() > {first}", **SELDOM)
    later = page.evaluate(_POINTS)
    after_reload = page.inner_text("#le-progress")
    page.wait_for_function(f"({_STRENGTH})() < 0.3", **SELDOM)
    faded = page.evaluate(_STRENGTH)

    other = chromium.new_context(viewport={"width": 1200, "height": 900})
    viewer = other.new_page()
    viewer.goto(f"{server}/?run={run_id}")
    viewer.wait_for_selector("#le-progress [role=progressbar]", timeout=180_000)
    second, may_stop = viewer.inner_text("#le-progress"), viewer.locator("#le-stop").is_visible()
    told = viewer.locator("#le-theirs", has_text="Only the browser that started it").is_visible()
    other.close()

    page.wait_for_selector("#le-verdict h2")
    page.wait_for_selector("#le-to-attack")
    open_details(page)
    page.wait_for_selector("#le-report-json", state="visible")
    carriers = page.locator("#le-details").get_by_text("New figures").or_(page.get_by_text("Download", exact=True))
    shown = sum(one.is_visible() for one in carriers.all())
    context.close()
    return Seen(run_id, first, later, faded, after_reload, second, may_stop, told, shown, requests, problems)


@pytest.fixture(scope="module")
def result(chromium: Any, server: str, finished: Seen) -> Iterator[Any]:
    """The page of that run, for the tests that look at it one after the other."""
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(f"{server}/?run={finished.run_id}")
    yield page
    context.close()


def test_the_curve_grows_and_survives_a_reload(finished: Seen) -> None:
    assert 0 < finished.first_points < finished.later_points
    assert "step" in finished.after_reload


def test_a_second_viewer_on_the_same_machine_sees_the_run_and_may_stop_it(finished: Seen) -> None:
    assert "step" in finished.second_viewer
    assert "tokens/s" not in finished.second_viewer  # it is folded away
    assert finished.second_may_stop
    assert not finished.second_is_told


def test_what_only_carries_a_value_stays_out_of_sight(finished: Seen) -> None:
    assert finished.carriers == 0


def test_the_secret_thins_out_while_the_run_works(finished: Seen) -> None:
    assert finished.faded < 0.3


@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1400, "light")])
def test_a_result_fits_one_screen(finished: Seen, open_tab: Callable[..., Any], width: int, theme: str) -> None:
    tab = open_tab(f"?run={finished.run_id}", width, theme)
    page = tab.page
    page.wait_for_selector("#le-to-attack")
    told = " ".join(page.inner_text(part) for part in ("#le-run-header", "#le-verdict", ".le-next"))
    assert len(told.split()) <= 150
    for words in ("gone", "kept", "Before:", "Now:", "Try to recover it", "Chat with it", "Compare", "Share", "Report"):
        assert words in told
    assert page.locator("#le-verdict .le-fade-card").count() == 3
    assert not page.locator("#le-start").is_visible()  # the form is folded into New run
    if width == 1400:
        assert page.locator("#le-details").bounding_box()["y"] < 900
    open_details(page)
    page.wait_for_timeout(500)
    assert tab.overflow() == 0
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(colour[:3]) < 120) == (theme == "dark")
    page.mouse.wheel(0, 4000)
    page.wait_for_timeout(300)
    assert page.locator("#le-run-header").bounding_box()["y"] >= 0  # it stays
    page.get_by_role("button", name="New run").click()
    page.wait_for_selector("#le-start", state="visible")


def test_the_replay_plays_and_slides(result: Any) -> None:
    page = result
    slider = page.get_by_role("slider", name="Moment of the run")
    slider.focus()
    page.keyboard.press("Home")
    assert page.inner_text(".le-slide output") == slider.get_attribute("aria-valuetext") == "the original"
    assert page.inner_text("#le-verdict .le-fade-told").startswith("Answers gone 0%, others kept 100%")
    assert page.evaluate(_STRENGTH.replace("#le-fade", "#le-verdict")) > 0.9
    page.get_by_role("button", name="Play the run").click()
    page.get_by_role("button", name="Pause").wait_for()
    page.wait_for_function("document.querySelector('.le-slide output').textContent === 'the result'", **SELDOM)
    page.get_by_role("button", name="Play the run").wait_for()
    assert page.evaluate(_STRENGTH.replace("#le-fade", "#le-verdict")) < 0.3


def test_the_details_hold_layers_terms_and_the_same_prompts_side_by_side(result: Any) -> None:
    page = result
    open_details(page)
    page.locator("#le-guide-open").wait_for()  # who follows a link sees the run, not the first visit
    assert not page.locator(".le-guide").is_visible()
    assert page.inner_text("#le-verdict h2").startswith("Answers gone")
    assert page.inner_text("#le-verdict h2").endswith("not attacked yet")
    assert page.locator("#le-judged .le-layers tbody tr").count() == 6
    assert page.locator("#le-judged .le-tile").count() == 4
    assert page.locator("#le-breakdown .le-terms tbody tr").count() == 14  # twelve terms under two headings
    assert "lethe run" in page.inner_text("#le-command")

    cards = page.locator("#le-side-by-side .le-item")
    cards.first.wait_for()
    assert cards.first.locator(".le-answer-column").count() == 3
    before = cards.count()
    page.click("#le-more")
    page.wait_for_function(f"document.querySelectorAll('#le-side-by-side .le-item').length > {before}")
    page.get_by_label("Retained", exact=True).check()
    page.wait_for_selector("#le-side-by-side mark.le-kept")
    page.get_by_label("Forgotten, asked in a new way").check()
    page.wait_for_function("document.querySelector('#le-side-by-side').innerText.includes('still told')", **SELDOM)


def test_buttons_lead_from_the_result_to_the_tabs_and_it_is_listed(finished: Seen, result: Any) -> None:
    page = result
    places = {"#le-to-recover": "#le-game h3", "#le-to-attack": "#le-attack-start", "#le-to-chat": "#le-chat-ask"}
    for button, place in places.items():
        page.click(button)
        page.wait_for_selector(place, state="visible")
        page.get_by_role("tab", name="Unlearn").click()
    page.click("#le-to-compare")
    page.locator("#le-compared", has_text=finished.run_id[:6]).wait_for()
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.locator(f"#le-runs a[href='?run={finished.run_id}']").wait_for()
    said = page.inner_text("#le-runs").lower()
    assert "answers gone" in said or "traces remain" in said


def test_no_request_leaves_the_machine_and_nothing_goes_wrong(finished: Seen) -> None:
    hosts = {url.split("/")[2].split(":")[0] for url in finished.external if url.startswith("http")}
    assert hosts == {"127.0.0.1"}
    assert finished.problems == []


def test_a_probe_shows_tokens_layers_and_ways_and_comes_back_by_its_link(
    finished: Seen, open_tab: Callable[..., Any]
) -> None:
    page = open_tab(f"?run={finished.run_id}").page
    page.wait_for_selector("#le-to-attack")
    page.get_by_role("tab", name="Probe").click()
    page.click("#le-fact input")
    page.get_by_role("option").first.click()
    page.wait_for_function("document.querySelector('#le-prompt textarea').value.length > 0")
    prompt = page.input_value("#le-prompt textarea")
    page.click("#le-ask")
    page.wait_for_selector("#le-ways thead th >> nth=3", timeout=180_000)
    assert page.locator("#le-answers .le-answer-column").count() == 3
    assert page.locator("#le-answers .le-output").first.inner_text().strip()
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
