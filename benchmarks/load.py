"""Fifty viewers, one run: what a visitor waits for while the server trains, and what a session leaves behind.

    python benchmarks/load.py [--public] [--seconds 600] [--viewers 50] [--sessions 2000] [--runs 3]

Serves the page in a process of its own with a fresh home, and visits it over HTTP as the page does: every
viewer opens the page and polls the run on screen with its timer's own request; a prober asks the models of
that run and waits for the first token. Prints one table. Meant for a quiet machine with two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from app_server import OVER, Api, served

API = "/gradio_api"
PROMPT = "Who wrote the novel that everybody in the city reads?"


@dataclass
class Latencies:
    """Seconds of one kind of request, and what went wrong."""

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except (httpx.HTTPError, RuntimeError) as error:
            self.errors.append(f"{type(error).__name__}: {error}")
        else:
            self.seconds.append(time.perf_counter() - began)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Site:
    """The served page as its own scripts see it: which request each button and timer makes."""

    def __init__(self, url: str, config: dict[str, Any]) -> None:
        self.api = Api(url)
        self._parts = {part["id"]: part for part in config["components"]}
        self._listeners = config["dependencies"]
        self.tick = self._find("tick", "le-progress")
        self.ask = self._find("click", "le-answers")
        self.loads = [one for one in self._listeners if self._event(one) == "load" and one["backend_fn"]]

    def _find(self, event: str, output: str) -> dict[str, Any]:
        return next(
            one
            for one in self._listeners
            if self._event(one) == event and output in {self._name(part) for part in one["outputs"]}
        )

    def _event(self, listener: dict[str, Any]) -> str:
        return str(listener["targets"][0][1]) if listener["targets"] else ""

    def _name(self, part: int) -> str:
        return str(self._parts[part]["props"].get("elem_id") or "")

    def body(self, listener: dict[str, Any], session: str, **given: Any) -> dict[str, Any]:
        """The form as the page would send it, with some fields filled in by their element's id."""
        values = [given.get(self._name(part), self._parts[part]["props"].get("value")) for part in listener["inputs"]]
        return {
            "fn_index": listener["id"],
            "data": values,
            "session_hash": session,
            "event_data": None,
            "trigger_id": None,
        }


async def listen(client: httpx.AsyncClient, session: str) -> AsyncIterator[dict[str, Any]]:
    """The messages of a session's queue until it has nothing under way."""
    async with client.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
        async for line in stream.aiter_lines():
            if line.startswith("data:"):
                message = json.loads(line[5:])
                if message["msg"] == "close_stream":
                    return
                yield message


async def open_page(client: httpx.AsyncClient, site: Site, session: str, run: str) -> None:
    """What a browser does first: the document, its configuration, and the listeners of its loading."""
    for path in ("/", "/config"):
        (await client.get(path, params={"run": run})).raise_for_status()
    for listener in site.loads:
        join = site.body(listener, session)
        (await client.post(f"{API}/queue/join", json=join, params={"run": run})).raise_for_status()
    async for message in listen(client, session):
        if message["msg"] == "process_completed" and not message["success"]:
            raise RuntimeError(f"a listener of the page's loading failed: {message['output']}")


async def view(
    client: httpx.AsyncClient,
    site: Site,
    session: str,
    run: list[str],
    every: float,
    until: float,
    ticks: Latencies,
    delay: float,
) -> None:
    """One viewer: polls the run on screen until `until`; `run` holds the id of the present one."""
    await asyncio.sleep(delay)
    while time.monotonic() < until:
        began = time.monotonic()
        body = site.body(site.tick, session, **{"le-run-id": run[-1]})
        with ticks.timed():
            (await client.post(f"{API}/run/predict", json=body)).raise_for_status()
        await asyncio.sleep(max(0.0, every - (time.monotonic() - began)))


async def probe(
    client: httpx.AsyncClient, site: Site, run: list[str], every: float, until: float, firsts: Latencies
) -> None:
    """One prober: asks every model of the run on screen and notes when the first token is there."""
    number = 0
    while time.monotonic() + every < until:
        await asyncio.sleep(every)
        number += 1
        session = f"prober{number}"
        given = {"le-run-id": run[-1], "le-prompt": f"{PROMPT} ({number})", "le-gold": ""}
        rest = listen(client, session)
        with firsts.timed():
            join = site.body(site.ask, session, **given)
            (await client.post(f"{API}/queue/join", json=join)).raise_for_status()
            generating = 0
            async for message in rest:
                if message["msg"] == "process_completed" and not message["success"]:
                    raise RuntimeError("a probe failed")
                generating += message["msg"] == "process_generating"
                if generating == 2:  # the first shows empty columns
                    break
        async for _ in rest:
            pass


async def carry_out(api: Api, home: Path, shown: list[str], until: float) -> list[float]:
    """Runs one after another until `until` (one at least); the seconds each took, told by its own record."""
    took: list[float] = []
    while not took or time.monotonic() + statistics.mean(took) < until:
        owner = f"the load benchmark, {len(shown)}"  # one of whom has no other run under way
        started, refused = await asyncio.to_thread(api, "start_run", seed=len(shown), owner=owner)
        if refused:
            raise SystemExit(f"a run was refused: {refused}")
        shown.append(started["run_id"])
        record: dict[str, Any] = {}
        while record.get("status") not in OVER:
            await asyncio.sleep(0.5)
            with contextlib.suppress(OSError, ValueError):
                record = json.loads((home / "runs" / shown[-1] / "run.json").read_text())
        if record["status"] != "finished":
            raise SystemExit(f"a run ended as {record['status']}: {record['message']}")
        took.append(record["ended"] - record["started"])
    return took


async def visit_and_leave(client: httpx.AsyncClient, site: Site, run: str, number: int, name: str) -> None:
    """Sessions that open the page, look once and are gone, ten at a time."""

    async def one(session: str) -> None:
        beat = client.stream("GET", f"{API}/heartbeat/{session}")
        async with beat:
            await open_page(client, site, session, run)
            body = site.body(site.tick, session, **{"le-run-id": run})
            (await client.post(f"{API}/run/predict", json=body)).raise_for_status()

    for first in range(0, number, 10):
        await asyncio.gather(*(one(f"{name}{first + i}") for i in range(min(10, number - first))))


async def settled(process: psutil.Process) -> None:
    """Wait until the server has warmed up and does nothing, a minute at most."""
    calm, until = 0, time.monotonic() + 60
    process.cpu_percent()
    while calm < 3 and time.monotonic() < until:
        await asyncio.sleep(1)
        calm = calm + 1 if process.cpu_percent() < 20 else 0


async def measure(options: argparse.Namespace, home: Path, url: str, process: psutil.Process) -> None:
    # The server closes what is idle for 5 s; a browser would try again, this client must not come too late.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=200, keepalive_expiry=3)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        site = Site(url, (await client.get("/config")).json())
        await settled(process)
        shown: list[str] = []
        await carry_out(site.api, home, shown, 0.0)  # the first also scores the original and draws the models
        alone = [await carry_out(site.api, home, shown, 0.0) for _ in range(options.runs)]
        unobserved = statistics.median(took for runs in alone for took in runs)
        row("a run alone", f"{unobserved:.1f} s", f"median of {options.runs}")
        sessions = [f"viewer{i}" for i in range(options.viewers)]
        for session in sessions:
            await open_page(client, site, session, shown[-1])
        await phase(options, client, site, process, sessions, shown, None, min(30.0, options.seconds / 2))
        observed = await phase(options, client, site, process, sessions, shown, home, options.seconds)
        slower = 100 * (statistics.median(observed) / unobserved - 1)
        row("the run, watched", f"{statistics.median(observed):.1f} s", f"median of {len(observed)}")
        row("slowed by", f"{slower:.1f} %", "15 % at most")
        if options.sessions:
            await leave_nothing(options, client, site, process, shown[-1])


async def phase(
    options: argparse.Namespace,
    client: httpx.AsyncClient,
    site: Site,
    process: psutil.Process,
    sessions: list[str],
    shown: list[str],
    home: Path | None,
    seconds: float,
) -> list[float]:
    """Viewers (and, while runs train in `home`, a prober) for some seconds; what the runs took."""
    ticks, firsts = Latencies(), Latencies()
    until = time.monotonic() + seconds
    process.cpu_percent()
    work: list[Any] = [
        view(client, site, session, shown, options.every, until, ticks, options.every * i / len(sessions))
        for i, session in enumerate(sessions)
    ]
    if home is not None:
        work.append(probe(client, site, shown, options.probe_every, until, firsts))
        *_, took = await asyncio.gather(*work, carry_out(site.api, home, shown, until))
    else:
        took = []
        await asyncio.gather(*work)
    title, target = ("idle", 100) if home is None else ("while a run trains", 300)
    busy = f"server at {process.cpu_percent():.0f} % of a core"
    row(f"status tick, {title}, p50", f"{ticks.quantile(0.5) * 1000:.0f} ms", busy)
    row(f"status tick, {title}, p95", f"{ticks.quantile(0.95) * 1000:.0f} ms", f"{target} ms at most")
    row(f"status tick, {title}, slowest", f"{max(ticks.seconds) * 1000:.0f} ms", f"of {len(ticks.seconds):,}")
    if firsts.seconds:
        row("first token of a probe, p95", f"{firsts.quantile(0.95):.2f} s", "2 s at most")
        row("first token of a probe, slowest", f"{max(firsts.seconds):.2f} s", f"of {len(firsts.seconds)}")
    errors = [*ticks.errors, *firsts.errors]
    row(f"errors, {title}", str(len(errors)), (errors or ["0 at most"])[0])
    return took


async def leave_nothing(
    options: argparse.Namespace, client: httpx.AsyncClient, site: Site, process: psutil.Process, run: str
) -> None:
    """Memory before and after many sessions came and went: whether it grows or comes to rest."""
    await visit_and_leave(client, site, run, min(100, options.sessions), "early")
    await settled(process)
    before, gone = process.memory_info().rss, 0
    for number in sorted({min(number, options.sessions) for number in (500, 1000, 2000, options.sessions)}):
        await visit_and_leave(client, site, run, number - gone, f"until{number}-")
        await settled(process)
        gone, grown = number, (process.memory_info().rss - before) / 1e6
        aside = f"50 MB at most, from {before / 1e6:.0f} MB"
        row(f"memory after {number:,} sessions", f"{grown:+.1f} MB", aside)


def row(title: str, figure: str, aside: str) -> None:
    print(f"{title:<40} {figure:>12}   {aside}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600, help="how long the runs are watched")
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between a viewer's polls")
    parser.add_argument("--probe-every", type=float, default=10.0)
    parser.add_argument("--sessions", type=int, default=2000, help="that come and go; 0 leaves it out")
    parser.add_argument("--runs", type=int, default=3, help="that nobody watches, to compare with")
    parser.add_argument("--public", action="store_true", help="serve as for strangers")
    options = parser.parse_args()
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder), public=options.public, lifted=options.public) as (url, process),
    ):
        httpx.get(url, timeout=60).raise_for_status()
        row("the page answers after", f"{time.perf_counter() - began:.1f} s", "20 s at most")
        asyncio.run(measure(options, Path(folder) / "home", url, process))


if __name__ == "__main__":
    main()
