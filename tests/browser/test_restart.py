"""The server is gone and comes back while a page is open: the page says so, and the run can be resumed."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.ui.app import launch

CHILD = """
import sys, time
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
store = RunStore(sys.argv[1])
spec = RunSpec(method="npo", data="facts:a => b")
run = store.create(spec)
store.append(run.id, ev.RunStarted(spec.to_json(), ("load", "unlearn"), 50, "cpu"))
for step in range(1, 6):
    store.append(run.id, ev.Step(step, 50, {"total": 1.0 / step}, 1e-3, 1.0, 10.0, 1.0 * step))
print(run.id, flush=True)
time.sleep(600)
"""


def test_an_open_page_comes_back_and_offers_to_resume(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unlearn_core.ui.app._warm_up", lambda studio: None)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    run = child.stdout.readline().strip()
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    try:
        first = launch(home=tmp_path, port=port, block=False)
        page = context.new_page()
        page.set_default_timeout(90_000)
        page.goto(f"http://127.0.0.1:{port}/?run={run}")
        page.locator("#le-progress", has_text="5 of 50").wait_for()
        first.close()
        child.kill()
        child.wait()
        page.locator(".le-lost").wait_for()
        assert "Finished runs are kept" in page.inner_text(".le-lost")
        page.locator(".toast-title", has_text="Connection lost").wait_for()
        second = launch(home=tmp_path, port=port, block=False)
        page.locator("#le-verdict h2", has_text="This run was interrupted").wait_for()
        page.locator("#le-resume").wait_for()
        second.close()
    finally:
        context.close()
        child.kill()
        child.wait()
        child.stdout.close()
