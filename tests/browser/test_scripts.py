"""Scripts in rows, names, ids, tags, files and answers of a model, in a real browser: nothing of them runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import served

from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

OWNER = "a secret that nobody guesses"
SCRIPTS = (
    "\"'><img src=x onerror=window.__ran=1><script>window.__ran=2</script><svg/onload=window.__ran=3>"
    "{{constructor.constructor('window.__ran=4')()}}${window.__ran=5}`${window.__ran=6}`"
    "<iframe srcdoc='<script>parent.__ran=7</script>'></iframe><details open ontoggle=window.__ran=8>"
    "<a href=javascript:window.__ran=9>x</a>![x](https://evil.example/x)<form action=//evil.example><input autofocus>"
)
TABS = (
    "Probe",
    "Chat",
    "Data",
    "Attack",
    "Recover",
    "Runs",
    "Compare",
    "Methods",
    "Leaderboard",
    "Published runs",
    "Unlearn",
)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str, RunStore]]:
    """A server whose one run holds scripts wherever there is text: its address, the run, and the store."""
    home = tmp_path_factory.mktemp("home")
    store = RunStore(home)
    spec = RunSpec(method="npo", data=f"facts:{SCRIPTS} => {SCRIPTS}", name=SCRIPTS)
    run = store.create(spec).id
    store.label(run, name=SCRIPTS[:80], tags=[SCRIPTS[:30], "<img src=x onerror=__ran=1>"])
    facts = (ev.WatchedFact("a", SCRIPTS, SCRIPTS, 0.5, "forget"), ev.WatchedFact("b", SCRIPTS, SCRIPTS, 0.9, "retain"))
    events: list[ev.Event] = [
        ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu"),
        ev.Warned(SCRIPTS),
        ev.FactProbe(0, facts),
        ev.StageProgress("unlearn", 0, 1, SCRIPTS),
        ev.Step(1, 1, {"total": 1.0}, 1e-3, 1.0, 1.0, 1.0),
        ev.FactAnswers(1, ({"id": "a", "split": "forget", "text": SCRIPTS},)),
        ev.FactProbe(1, facts),
        ev.CanaryAlert(1, SCRIPTS, 0.9, 0.1, True),
        ev.Finished({"label": SCRIPTS, "headline": SCRIPTS, "summary": SCRIPTS, "reasons": [SCRIPTS]}, {}),
    ]
    for event in events:
        store.append(run, event)
    with served(home, cold=True) as address:
        yield address, run, store


def ran(page: Any) -> Any:
    """What a script left behind, and elements that only a script's author would bring."""
    made = page.evaluate("[...document.querySelectorAll('iframe[srcdoc], form[action], [onerror], [ontoggle]')].length")
    return page.evaluate("window.__ran"), made


def test_no_script_runs_wherever_text_is_shown(
    chromium: Any, strange: tuple[str, str, RunStore], tmp_path: Path
) -> None:
    address, run, _ = strange
    context = chromium.new_context()
    page, asked = context.new_page(), list[str]()
    page.set_default_timeout(90_000)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{address}/?run={run}")
    page.wait_for_selector("#le-start", state="attached")
    page.wait_for_function("document.body.innerText.includes('__ran=2')")  # it is shown
    rows = tmp_path / "<img src=x onerror=window.__ran=1>.jsonl"
    rows.write_text(
        json.dumps({"id": SCRIPTS, "input": SCRIPTS, "output": SCRIPTS, "<img src=x onerror=__ran=1>": "x"})
    )
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        page.wait_for_timeout(200)
        if tab == "Data":
            page.get_by_label("Upload", exact=True).check()
            page.set_input_files("#le-upload input[type=file]", str(rows))
            page.wait_for_selector("#le-preview .le-table, #le-preview .le-problem")
            assert "__ran=2" in page.inner_text("#le-preview")
        assert ran(page) == (None, 0), tab
    page.wait_for_timeout(1_000)  # for what is late
    assert ran(page) == (None, 0)
    assert not [url for url in asked if "evil.example" in url]
    context.close()


def test_nor_in_the_report_that_is_handed_on(chromium: Any, strange: tuple[str, str, RunStore], tmp_path: Path) -> None:
    from unlearn_core.report.export.hub_export import write_report

    _, run, store = strange
    html, _ = write_report(store, run, tmp_path)
    page = chromium.new_context().new_page()
    page.goto(html.as_uri())
    assert "__ran=2" in page.inner_text("body")
    assert ran(page) == (None, 0)
