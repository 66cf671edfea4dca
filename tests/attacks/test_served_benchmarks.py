"""The benchmarks that serve, a few requests each at one public server without quotas."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, psutil.Process, Path]]:
    place = tmp_path_factory.mktemp("served")
    with import_module("app_server").served(place) as (address, process):
        yield address, process, place


def test_strangers_see_and_change_what_is_theirs_alone(site: Any) -> None:
    strangers, api = import_module("strangers"), import_module("app_server").Api(site[0])
    visitors = strangers.Visitors(api, random.Random(0))
    for _ in range(60):
        visitors.step()
    assert visitors.wrong == []
    assert sum(visitors.done.values()) == 60


def test_doors_are_as_promised(site: Any) -> None:
    doors = import_module("doors").Doors(*site)
    for attempt in ("counts", "kept_answers", "another_upload"):
        found, promised = getattr(doors, attempt)()
        assert promised, f"{attempt}: {found}"


def test_a_viewer_of_the_load_opens_the_page_and_looks(site: Any) -> None:
    load = import_module("load")
    page, ticks = load.Site(site[0], httpx.get(f"{site[0]}/config").json()), load.Latencies()

    async def visit() -> None:
        async with httpx.AsyncClient(base_url=site[0], timeout=300) as client:
            await load.open_page(client, page, "one", "")
            body = page.body(page.tick, "one", **{"le-run-id": ""})
            with ticks.timed():
                (await client.post(f"{load.API}/run/predict", json=body)).raise_for_status()

    with ThreadPoolExecutor(1) as apart:  # Playwright keeps a loop running in the thread of the browser tests
        apart.submit(asyncio.run, visit()).result()
    assert ticks.errors == []
    assert ticks.quantile(0.5) > 0


def test_the_soak_follows_memory_over_finished_runs(site: Any) -> None:
    soak, serving = import_module("soak"), import_module("app_server")
    run = soak.many_runs(serving.Api(site[0]), site[1], 1)
    assert (site[2] / "home" / "runs" / run).is_dir()
    assert soak._on_disk(site[2]) > 0
