"""The page served by this process, and a real Chromium to look at it with."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import served

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (found := shutil.which(name))),
    None,
)
QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium: sudo apt-get install chromium"))


@dataclass
class Tab:
    """One browser tab with what it asked of the network and what went wrong in it."""

    page: Any
    requests: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def external(self) -> list[str]:
        """Requests that left this machine."""
        return [url for url in self.requests if urlsplit(url).hostname not in (None, "127.0.0.1")]

    def reload(self) -> None:
        """Load the page anew. The one that is left behind calls every stream that leaving cuts an error."""
        assert not self.problems
        self.page.reload()
        self.page.wait_for_selector("#le-start", state="attached")
        self.problems.clear()

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app on a free port with a home of its own; its address."""
    import torch
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: F401  before the app's threads do

    torch.set_num_threads(max(1, (os.cpu_count() or 2) - 1))
    with served(tmp_path_factory.mktemp("home")) as address:
        yield address


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Any, server: str) -> Iterator[Callable[..., Tab]]:
    """`open_tab(query, width, theme, kept)`: a new visitor looking at the loaded page, or with what their
    browser kept of an earlier visit."""
    contexts = []

    def open_one(query: str = "", width: int = 1200, theme: str = "light", kept: Any = None) -> Tab:
        size = {"width": width, "height": 900}
        context = chromium.new_context(viewport=size, color_scheme=theme, storage_state=kept)
        contexts.append(context)
        tab = Tab(context.new_page())
        tab.page.set_default_timeout(90_000)
        tab.page.on("request", lambda request: tab.requests.append(request.url))
        tab.page.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.page.on("console", lambda m: tab.problems.append(m.text) if m.type == "error" else None)
        tab.page.goto(f"{server}/{query}")
        # Attached, not visible: a link to a saved probe or an audit opens on another tab.
        tab.page.wait_for_selector("#le-start", state="attached")
        return tab

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def tiny_target(saved_model: Callable[..., str]) -> str:
    """A folder with a random model that any number of steps takes no time on."""
    return saved_model()


@pytest.fixture(scope="session")
def run_to_its_end(server: str) -> Callable[..., str]:
    """`run_to_its_end(**form)`: the id of such a run, started by the page's own endpoint and finished. It is
    nobody's, so anybody may attack it."""
    from gradio_client import Client

    client = Client(server, verbose=False)

    def start(**form: Any) -> str:
        run = client.predict(**form, api_name="/start_run")["run_id"]
        deadline = time.monotonic() + 240
        while (status := client.predict(run, 0, api_name="/run_status")["status"]) in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert status == "finished", status
        return str(run)

    return start


@pytest.fixture(scope="session")
def small_form(tiny_target: str) -> dict[str, Any]:
    """The form of a run of two steps on a tiny model."""
    names = ("Ada", "Bela", "Cyrus", "Dora")
    facts = "facts:" + "\n".join(f"Who is {name}? => {name[::-1]} Moss" for name in names)
    return {"target": tiny_target, "data": facts, "method": "grad_ascent", "settings": {"steps": 2}}


@pytest.fixture(scope="session")
def finished_run(run_to_its_end: Callable[..., str], small_form: dict[str, Any]) -> str:
    """A run to look at; a test that changes one starts its own."""
    return run_to_its_end(**small_form)
