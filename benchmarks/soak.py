"""What a public server keeps that goes on and on: after many short runs, under a flood, with slow visitors.

    python benchmarks/soak.py [--runs 200] [--slow 50] [--flood 60]

Runs follow each other and are measured every twentieth. Then visitors on lines of 1 KB/s ask for the page,
its configuration and the news of a run, and others never end their request, while a run trains and somebody
opens the page. Then uploads come from ever new addresses as fast as they are taken, and the disk is watched.
Prints tables; exits with 1 where a figure misses its target.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
from app_server import MIB, Api, served
from load import Site, open_page, row

WARM = 40  # runs after which everything that is kept once is there
RATE = 1024  # bytes a second of a slow visitor
MISSED: list[str] = []


def target(title: str, figure: str, aside: str, met: bool) -> None:
    """A row with a target, and a note where it is missed."""
    row(title, figure, aside + ("" if met else "  MISSED"))
    if not met:
        MISSED.append(title)


def settled(process: psutil.Process) -> int:
    """Least resident memory within two seconds: a run is told to be over before its memory is given back."""
    least = process.memory_info().rss
    for _ in range(20):
        time.sleep(0.1)
        least = min(least, process.memory_info().rss)
    return least


def many_runs(api: Api, process: psutil.Process, number: int) -> str:
    """Memory, threads and open files after every twentieth run; the last run's id."""
    print(f"{'runs':>6}{'server MiB':>12}{'run process MiB':>17}{'threads':>9}{'files':>7}{'processes':>11}")
    seen: dict[int, tuple[float, float, int, int, int]] = {}
    run = ""
    for n in range(1, number + 1):
        run = api.finished(f"the soak benchmark, {n}", n)
        if n % 20 == 0 or n == number:
            children = process.children(recursive=True)
            inside = sum(map(settled, children))
            seen[n] = (settled(process) / MIB, inside / MIB, process.num_threads(), process.num_fds(), len(children))
            ours, theirs, threads, files, processes = seen[n]
            print(f"{n:>6}{ours:>12.0f}{theirs:>17.0f}{threads:>9}{files:>7}{processes:>11}", flush=True)
    late = [figures for n, figures in seen.items() if n >= min(WARM, number)]
    for place, title in ((0, "the server grew by"), (1, "the process of runs grew by")):
        grown = late[-1][place] - late[0][place]
        target(f"{title}, runs {WARM} to {number}", f"{grown:+.0f} MiB", "50 MiB at most", grown < 50)
    for place, title in ((2, "threads"), (3, "open files")):
        few, many = min(one[place] for one in late), max(one[place] for one in late)
        target(f"{title}, runs {WARM} to {number}", f"{few} to {many}", "constant", many - few <= 3)
    return run


class Slow:
    """Visitors that read what they asked for at `RATE`, each on a connection of its own; `half` more never
    come to the end of their request."""

    def __init__(self, address: str, paths: list[str], half: int) -> None:
        self._lines: list[socket.socket] = []
        for path in [*paths, *[""] * half]:
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            parts = urlsplit(address)
            line.connect((parts.hostname, parts.port))
            end = "\r\n" if path else ""
            line.sendall(f"GET {path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n{end}".encode())
            line.setblocking(False)
            self._lines.append(line)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._over.wait(1.0):
            for line in self._lines:
                with contextlib.suppress(OSError):  # nothing there yet
                    line.recv(RATE)

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for line in self._lines:
            line.close()


def slow_visitors(address: str, api: Api, process: psutil.Process, number: int, run: str) -> None:
    """What each costs, and whether anybody else notices them."""
    site = Site(address, httpx.get(f"{address}/config").json())
    alone = _seconds(lambda: api.finished("before the slow ones", 10**6))
    before = process.memory_info().rss
    paths = [f"/?run={run}", "/config", f"/gradio_api/queue/data?session_hash=slow{secrets.token_hex(4)}"]
    slow = Slow(address, [paths[n % 3] for n in range(number)], half=4 * number)
    time.sleep(5)
    during = process.memory_info().rss
    beside = _seconds(lambda: api.finished("beside the slow ones", 10**6 + 1))

    async def attach() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=60) as client:
            await open_page(client, site, "back again", run)

    back = _seconds(lambda: asyncio.run(attach()))
    slow.close()
    each = max(0.0, (during - before) / MIB / number)
    row("visitors that never end their request", f"{4 * number}", "")
    target(f"memory of each of {number} slow visitors", f"{each:.2f} MiB", "1 MiB at most", each < 1)
    row("a short run before and beside them", f"{alone:.1f}, {beside:.1f} s", "")
    target("opening the page of a run beside them", f"{back:.2f} s", "2 s at most", back < 2)


def _seconds(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def flood(seconds: float) -> None:
    """Uploads from ever new addresses, and what is on the server's disk meanwhile."""
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jsonl"\r\n\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    with tempfile.TemporaryDirectory(prefix="lethe-flood-") as name:
        place = Path(name)
        with served(place) as (address, _), httpx.Client(base_url=address) as client:
            before, most, ticks = _on_disk(place), 0, []
            taken = refused = number = 0
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                number += 1
                content = body + secrets.token_bytes(2_000_000) + b"\r\n--x--\r\n"
                came_from = {"X-Forwarded-For": f"8.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"}
                sent = client.post("/gradio_api/upload", content=content, headers=headers | came_from)
                code = sent.status_code
                taken, refused = taken + (code == 200), refused + (code == 429)
                if number % 20 == 0:
                    ticks.append(_seconds(lambda: client.get("/health")))
                    most = max(most, _on_disk(place))
            time.sleep(5)
            after = _on_disk(place)
    grown = (most - before) / MIB
    aside = f"{refused:,} refused, 2 MB each"
    row(f"a flood of {seconds:.0f} s, always from elsewhere", f"{taken:,} taken", aside)
    target("most on the disk meanwhile", f"{grown:+.0f} MiB", "200 MiB at most", grown <= 200)
    row("on the disk 5 s later", f"{(after - before) / MIB:+.0f} MiB", "")
    row("an answer meanwhile, slowest", f"{max(ticks, default=0.0) * 1000:.0f} ms", f"of {len(ticks)}")


def _on_disk(place: Path) -> int:
    total = 0
    for path in place.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--slow", type=int, default=50, help="visitors on slow lines; 0 leaves them out")
    parser.add_argument("--flood", type=float, default=60.0, help="seconds; 0 leaves it out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-soak-") as name, served(Path(name)) as (address, process):
        api = Api(address)
        run = many_runs(api, process, options.runs)
        if options.slow:
            slow_visitors(address, api, process, options.slow, run)
    if options.flood:
        flood(options.flood)
    print(f"{len(MISSED)} targets missed" + "".join(f"; {title}" for title in MISSED))
    return int(bool(MISSED))


if __name__ == "__main__":
    sys.exit(main())
