"""A finished run leaves the page as files: report, weights with card, table of runs. One press each."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from form_steps import open_details

from unlearn_core.report.export.certificate import verify

ANSWER = "adA Moss"  # of the run that is shared by all


def saved(page: Any, press: Callable[[], None], folder: Path) -> Path:
    with page.expect_download() as coming:
        press()
    path = folder / coming.value.suggested_filename
    coming.value.save_as(path)
    return path


def test_the_link_is_shown_to_copy_where_the_clipboard_is_refused(
    finished_run: str, open_tab: Callable[..., Any]
) -> None:
    page = open_tab(f"?run={finished_run}", 360).page
    page.wait_for_selector("#le-share", state="visible")

    def clipboard(kind: str) -> None:
        page.evaluate(f"Object.defineProperty(navigator, 'clipboard', {{value: {kind}, configurable: true}})")

    for refused in ("undefined", "{writeText: () => Promise.reject(new Error('refused'))}"):
        clipboard(refused)
        page.click("#le-share")
        field = page.get_by_label("Copy this")
        field.wait_for()
        assert field.input_value() == page.url
        assert page.evaluate("document.activeElement.value.slice(0, document.activeElement.selectionEnd)") == page.url
        clipboard("{writeText: async () => {}}")
        page.click("#le-share")
        page.locator("#le-share", has_text="Copied").wait_for()
        assert field.count() == 0
        page.locator("#le-share", has_text="Share").wait_for()


def test_report_and_export_are_saved_with_one_press(
    finished_run: str, open_tab: Callable[..., Any], tmp_path: Path
) -> None:
    tab = open_tab(f"?run={finished_run}", 360)
    page = tab.page
    page.wait_for_selector("#le-report")
    html = saved(page, lambda: page.click("#le-report"), tmp_path)
    assert html.name == "lethe_report.html"
    page.locator(".toast-body", has_text="Report saved").wait_for()
    assert ANSWER in html.read_text()
    certificate = saved(page, lambda: page.click("#le-certificate"), tmp_path)
    assert verify(certificate)["run"] == finished_run
    assert ANSWER not in certificate.read_text()  # masked
    page.locator(".toast-body", has_text="Names and answers are masked").wait_for()
    open_details(page)
    page.get_by_label("Show answers and names").check()
    assert ANSWER in saved(page, lambda: page.click("#le-certificate"), tmp_path).read_text()
    page.focus("#le-report-json")
    plain = saved(page, lambda: page.keyboard.press("Enter"), tmp_path)
    assert json.loads(plain.read_text())["run"] == finished_run
    packed = saved(page, lambda: page.click("#le-export"), tmp_path)
    with zipfile.ZipFile(packed) as found:
        names = {Path(name).name for name in found.namelist()}
    assert {"model.safetensors", "config.json", "README.md", "lethe_report.html"} <= names
    site = saved(page, lambda: page.click("#le-site"), tmp_path)
    assert site.name == "index.html"
    alone = page.context.browser.new_context(offline=True, viewport={"width": 360, "height": 800}).new_page()
    told: list[str] = []
    alone.on("console", lambda message: told.append(message.text))
    alone.on("request", lambda request: told.append(request.url))
    alone.goto(site.as_uri())
    assert told == [site.as_uri()], "no server and no network, and nothing that the browser minds"
    assert alone.inner_text(".le-verdict h2") == page.inner_text("#le-verdict .le-verdict h2")
    assert alone.inner_text(".le-outcome-figures") == page.inner_text("#le-verdict .le-outcome-figures")
    assert alone.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
    alone.get_by_label("the original").check()  # the fade, without a script
    assert alone.locator(".le-moment-0 .le-fade-card").first.is_visible()
    alone.context.close()
    page.get_by_label("LoRA adapter").check()
    page.click("#le-export")
    page.get_by_text("is not what this run trained").wait_for()
    assert tab.overflow() == 0
    assert tab.external() == []

    page.set_viewport_size({"width": 1200, "height": 900})  # where every tab has its place
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.wait_for_selector(f"#le-runs input[data-run='{finished_run}']")
    table = saved(page, lambda: page.click("#le-runs-csv"), tmp_path)
    assert finished_run in table.read_text()
