"""How long a tab takes to open with many runs in the store, in a real Chromium.

    python benchmarks/tabs.py [--runs 200]

Makes a home with one real run on the bundled model, stored again under as many ids, names and seeds, serves
the page in a process of its own, and opens each tab by a click. Times are from the click to the last change
of the page (nothing changes for 0.7 s after it) and to the last answer from the server, each tab on a fresh
page that stands still and has its chart library, in a window of 1400 x 900. `first` is the first visitor
after the server's start, whom the page's first drawing falls to; the others are medians of three visitors
after that. For the first tab, which is open already, it is the whole page with what the model knows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from app_server import served

TABS = {
    "Unlearn": "#le-start",
    "Probe": "#le-prompt",
    "Data": "#le-upload, #le-typed, #le-preview, .le-panel",
    "Attack": "#le-attack-start",
    "Runs": "#le-runs tbody tr",
    "Compare": "#le-settings-table table",
    "Methods": "#le-methods",
    "Leaderboard": "#le-gallery-plot .js-plotly-plot",
    "Published runs": "#le-published-plot .js-plotly-plot",
}
VISITORS = 3
_LIBRARY = "performance.getEntriesByType('resource').some((one) => one.name.includes('PlotlyPlot'))"
# Clicks a tab and says, in milliseconds after that, when the page changed last and when the last answer came;
# without a tab it waits until the page stands still. The content must be there, whatever else stands still.
_OPEN = """([tab, content]) => new Promise((done) => {
  const began = performance.now();
  let last = began;
  const watch = new MutationObserver(() => { last = performance.now(); });
  watch.observe(document.body, {subtree: true, childList: true, attributes: true, characterData: true});
  tab?.click();
  const look = () => {
    const there = [...document.querySelectorAll(content)].some((one) => one.offsetParent);
    if (!there || performance.now() - last < 700) return setTimeout(look, 20);
    watch.disconnect();
    const ends = performance.getEntriesByType('resource').map((one) => one.responseEnd);
    done([last - began, Math.max(0, ...ends.filter((end) => end > began).map((end) => end - began))]);
  };
  look();
})"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "home", options.runs)
        with served(Path(folder), public=False, lifted=False) as (url, _):
            measure(url)


def fill(home: Path, number: int) -> None:
    """One real run, and copies of it that differ in what a table or a plot shows."""
    from unlearn_core.runs.spec import RunSpec
    from unlearn_core.store.recorder import record
    from unlearn_core.store.store import RunStore
    from unlearn_core.system.files import write_json

    store = RunStore(home)
    for _ in record(RunSpec(method="npo"), store):
        pass
    (first,) = store.list_runs()
    real = json.loads((store.folder(first.id) / "run.json").read_text())
    assert real["status"] == "finished", real["message"]
    for i in range(1, number):
        copy = f"{first.id[:-5]}{i:05d}"
        folder = store.runs / copy
        shutil.copytree(store.folder(first.id), folder, copy_function=os.link)
        (folder / "run.json").unlink()
        settings = {"beta": (0.05, 0.1, 0.5)[i % 3], "learning_rate": 10.0 ** -(2 + i % 4 / 2)}
        spec = {**real["spec"], "seed": i % 5, "name": f"Run {i}", "settings": settings}
        write_json(folder / "run.json", {**real, "id": copy, "spec": spec, "created": real["created"] - i})
    store.close()


def measure(url: str) -> None:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    print(f"{'tab':<18}{'first s':>10}{'then s':>10}{'network s':>11}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--headless", "--no-sandbox"])
        for title, content in TABS.items():
            found = [open_tab(browser, url, title, content) for _ in range(VISITORS + 1)]
            drawn = statistics.median(one[0] for one in found[1:])
            network = statistics.median(one[1] for one in found[1:])
            print(f"{title:<18}{found[0][0]:>10.2f}{drawn:>10.2f}{network:>11.2f}", flush=True)
        browser.close()


def open_tab(browser: Any, url: str, title: str, content: str) -> tuple[float, float]:
    """Seconds from the click on a tab to its last change and to the last answer; for the first tab, which
    is open already, those of the whole page."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("#le-start")
    page.wait_for_selector(".le-knows")  # what the model knows now: the last that a fresh page waits for
    loaded = time.perf_counter() - began
    if title == "Unlearn":
        found = (loaded, loaded)
    else:
        page.wait_for_function(_LIBRARY)
        page.evaluate(_OPEN, [None, "#le-start"])
        tab = page.get_by_role("tab", name=title, exact=True).element_handle()
        drawn, answered = page.evaluate(_OPEN, [tab, content])
        found = (drawn / 1000, answered / 1000)
    context.close()
    return found


if __name__ == "__main__":
    main()
