"""A run that goes wrong: the alarm, one press to keep the best, zoom over new data, and the replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_heart import memorise
from form_steps import open_details

MINUTES = 4  # a busy machine may take its time
_STEP = "Number(document.querySelector('#le-progress').innerText.match(/step (\\d+) of/)?.[1] ?? 0)"
_PLOT = "document.querySelector('#le-facts-plot .js-plotly-plot')"


@pytest.fixture
def ruin(
    server: str, tmp_path_factory: pytest.TempPathFactory, tiny_model: Callable[..., Any], tiny_tokenizer: Any
) -> str:
    """The id of a run that ruins a model and that anybody may stop: nobody in particular started it."""
    from gradio_client import Client

    known = memorise(tmp_path_factory.mktemp("known"), tiny_model("olmo2", seed=0), tiny_tokenizer)
    form = {"target": known.model, "data": known.data, "method": "grad_ascent"}
    settings = {"steps": 6000, "learning_rate": 3e-3, "warmup": 0.0, "batch_size": 6}
    found = Client(server, verbose=False).predict(**form, settings=settings, api_name="/start_run")
    return str(found["run_id"])


def test_the_alarm_the_best_and_the_replay(ruin: str, open_tab: Callable[..., Any], tmp_path: Path) -> None:
    tab = open_tab(f"?run={ruin}")
    page = tab.page
    page.set_default_timeout(MINUTES * 60_000)
    page.wait_for_selector("#le-alarm [role=alert]")
    page.get_by_role("button", name="Behind the curves").click()
    page.wait_for_selector("#le-facts table")
    page.wait_for_selector("#le-telemetry .le-numbers")

    zoomed = zoom(page)
    fold = page.locator("#le-details > button")
    fold.click()
    fold.click()  # unfolded, the chart is drawn once more from the figure it has
    points = page.evaluate(f"{_PLOT}.data[0].x.length")
    page.wait_for_function(f"{_PLOT}.data[0].x.length > {points + 2}", polling=250)
    assert page.evaluate(f"{_PLOT}.layout.xaxis.range") == zoomed, "the reader's zoom survives new data"
    assert page.evaluate(f"{_PLOT}.marked") is True, "the chart was drawn on, not made anew"

    page.wait_for_function(f"{_STEP} > 600", polling=250)  # by then answers have been written
    page.click("#le-best")
    page.wait_for_selector("#le-verdict h2")
    assert not page.locator("#le-best").is_visible()
    open_details(page)
    assert "are kept" in page.inner_text("#le-judged .le-notices")

    slider = page.get_by_role("slider", name="Moment of the run")
    slider.focus()
    page.keyboard.press("Home")
    page.wait_for_function("document.querySelector('.le-slide output').innerText === 'the original'")
    first = page.inner_text("#le-verdict .le-fade-told")
    page.keyboard.press("End")
    page.wait_for_function("document.querySelector('.le-slide output').innerText === 'the result'")
    assert slider.get_attribute("aria-valuetext") == "the result"
    assert page.inner_text("#le-verdict .le-fade-told") != first
    assert tab.problems == []

    with page.expect_download() as coming:
        page.click("#le-report")
    coming.value.save_as(tmp_path / "report.html")
    page.set_viewport_size({"width": 360, "height": 800})
    page.goto((tmp_path / "report.html").as_uri())
    assert tab.overflow() == 0
    shown = page.locator(".le-moment:visible")
    assert shown.count() == 1, "the report's replay shows one moment, without scripts"
    page.get_by_label("the original").check()
    assert shown.count() == 1
    assert "le-moment-0" in str(shown.get_attribute("class"))


def zoom(page: Any) -> list[float]:
    """Drag over a part of the chart of the facts; the range it then shows."""
    page.wait_for_function(f"{_PLOT}?.data?.[0]?.x?.length > 2")  # the chart may come after the alarm
    page.evaluate(f"{_PLOT}.marked = true")
    for _ in range(10):  # a page that grows meanwhile may move the chart from under the mouse
        area = page.locator("#le-facts-plot .nsewdrag").first
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.3 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=8)
        page.mouse.up()
        page.wait_for_timeout(500)
        if page.evaluate(f"{_PLOT}.layout.xaxis.range[1] < 5900"):
            break
    found: list[float] = page.evaluate(f"{_PLOT}.layout.xaxis.range")
    assert found[1] < 5900
    return found
