"""Hostile files and calls against a real public server: `python benchmarks/fuzz.py [--cases 10000]`.

A server process with a home of its own takes generated uploads (rows that are broken, huge, deep, oddly
encoded or booby-trapped; parquet that unpacks to gigabytes; files that are two things at once) and generated
calls to every endpoint, listener and route, drawn by hypothesis. Looked for: answers that are server
errors or tell a traceback, a path of this machine or a planted token; answers that take over five seconds; a
refusal without words; files outside the home; memory that grows by more than 200 MB; and a /health that takes
more than a second for somebody else meanwhile. Prints a table; exits with 1 on any finding.

Quotas are lifted, because all cases come from one address; every other limit holds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from app_server import CANARY, Api, Watcher, served
from hostile import ROUTES, arguments, calls, files
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

OWNER = "a-secret-for-fuzzing"
SLOW = 5.0  # seconds
GROWN, HEALTH = 200, 1.0  # MB that the server may have grown by at the end, and seconds of the slowest of 100
FORBIDDEN = ("Traceback (most recent", "site-packages", "unlearn_core/", CANARY)


@dataclass
class Tally:
    """What came of the cases of one family."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


class Attacker:
    """Sends cases to one server and judges the answers."""

    def __init__(self, address: str, run: str, owner: str, secrets: tuple[str, ...]) -> None:
        self.run, self.owner = run, owner
        self.client = httpx.Client(base_url=address, timeout=60.0)
        self.forbidden = (*FORBIDDEN, *secrets)
        self.tallies: dict[str, Tally] = defaultdict(Tally)
        self.until = float("inf")
        config = self.client.get("/config").json()
        self.listeners = [d for d in config["dependencies"] if d["backend_fn"]]
        self.endpoints = Api(address).endpoints

    def upload(self, name: str, content: bytes) -> None:
        """A file through the page's own upload, then looked at by the data tab."""
        head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
        body = head.encode("utf-8", "surrogatepass") + content + b"\r\n--x--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        sent = self._send("upload a file", "POST", "/gradio_api/upload", label=name, content=body, headers=headers)
        if sent is None or sent.status_code != 200:
            return
        path = sent.json()[0]
        body = look_at(self.listeners, path, name)
        self._send("look at the file", "POST", "/gradio_api/run/predict", json=body, told=_said_of_a_file)

    def send_text(self, name: str, content: bytes) -> None:
        """The same through the endpoint for programs."""
        data = {"data": [content.decode("utf-8", "surrogateescape"), name, "a-secret-for-fuzzing"]}
        self._send("endpoint upload_data", "POST", "/gradio_api/run/upload_data", json=data)

    def call(self, name: str, given: list[Any]) -> None:
        """An endpoint by its name."""
        body = {"data": given[: len(self.endpoints[name])]}
        self._send("endpoints", "POST", f"/gradio_api/run/{name}", json=body, label=name)

    def almost(self, call: tuple[str, list[Any]]) -> None:
        """An endpoint with arguments that are nearly right, on a run that is there."""
        name, given = call
        if name in ("delete_run", "delete_my_data") and self.owner in given:
            return  # the run is needed
        self._send("endpoints, one thing off", "POST", f"/gradio_api/run/{name}", json={"data": given}, label=name)

    def listen(self, number: int, given: list[Any]) -> None:
        """A listener of the page by its number, which anybody may call."""
        listener = self.listeners[number % len(self.listeners)]
        data = given[: len(listener["inputs"])]
        body = {"fn_index": listener["id"], "data": data, "session_hash": "fuzz"}
        label = f"{listener['api_name']} {listener['id']}"
        self._send("listeners of the page", "POST", "/gradio_api/run/predict", json=body, label=label)

    def knock(self, method: str, path: str, body: bytes, headers: dict[str, Any]) -> None:
        """Anything at any route."""
        self._send("routes", method, path, content=body, headers=headers, label=path)

    def _send(
        self,
        family: str,
        method: str,
        path: str,
        label: str = "",
        told: Callable[[httpx.Response], str] | None = None,
        **options: Any,
    ) -> httpx.Response | None:
        tally, began = self.tallies[family], time.perf_counter()
        if began > self.until:
            return None
        what = f"{label or path} {str(options.get('json', options.get('content', '')))[:160]!r}"
        if "json" in options:  # lone surrogates and all, as an attacker would write it
            options["content"] = json.dumps(options.pop("json")).encode()
            options["headers"] = {"Content-Type": "application/json"}
        try:
            with self.client.stream(method, path, **options) as answer:
                kind = answer.headers.get("content-type", "")
                if "event-stream" not in kind:  # a stream stays open until there is news
                    answer.read()
        except (httpx.InvalidURL, httpx.LocalProtocolError):  # our own client sends no such thing
            return None
        except httpx.HTTPError as error:
            tally.findings.append(f"no answer ({type(error).__name__}): {what}")
            return None
        took = time.perf_counter() - began
        tally.seconds.append(took)
        tally.statuses[answer.status_code] += 1
        if "event-stream" not in kind:
            problem = self._problem(answer, took) or (told(answer) if told else "")
            if problem:
                tally.findings.append(f"{problem}: {what}")
        return answer

    def _problem(self, answer: httpx.Response, took: float) -> str:
        if took > SLOW:
            return f"took {took:.1f} s"
        if answer.status_code >= 500:
            return f"{answer.status_code} {answer.text[:200]}"
        leaked = next((words for words in self.forbidden if words in answer.text), None)
        if leaked is not None and not answer.headers.get("content-type", "").startswith("text/html"):
            return f"tells {leaked!r}"
        if answer.status_code >= 400 and answer.request.method != "HEAD" and not _words(answer):
            return f"{answer.status_code} without words: {answer.text[:80]}"
        return ""


def look_at(listeners: list[Any], path: str, name: str) -> dict[str, Any]:
    """The call by which the data tab looks at a file that was uploaded."""
    file = {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}
    form = [OWNER, "demo", "Upload", "", file, "", "", "", "", None, *[""] * 5]
    looks = next(d for d in listeners if any(event == "upload" for _, event in d["targets"]))
    assert len(form) == len(looks["inputs"]), "the data tab asks for other things than this sends"
    return {"fn_index": looks["id"], "data": form, "session_hash": "fuzz"}


def _words(answer: httpx.Response) -> bool:
    """Whether a refusal says what is wrong."""
    try:
        said = answer.json()
    except ValueError:
        return len(answer.text.strip()) > 3
    if isinstance(said, dict):
        said = said.get("error") or said.get("detail") or said.get("message")
    return bool(said)


def _said_of_a_file(answer: httpx.Response) -> str:
    """The data tab shows a table or a problem, nothing else."""
    shown = str(answer.json().get("data", [""])[0]) if answer.status_code == 200 else "le-problem"
    return "" if "le-problem" in shown or "le-table" in shown else f"shows neither rows nor why: {shown[:80]}"


def attack(attacker: Attacker, cases: int, number: int = 0) -> None:
    """Send so many generated cases: a third files, the rest calls."""
    shares: list[tuple[int, Callable[..., None], list[st.SearchStrategy[Any]]]] = [
        (20, attacker.upload, list(files(binary=True))),
        (15, attacker.send_text, list(files(binary=False))),
        (20, attacker.call, [st.sampled_from(sorted(attacker.endpoints)), arguments()]),
        (15, attacker.almost, [calls(attacker.endpoints, attacker.run, attacker.owner)]),
        (20, attacker.listen, [st.integers(0, 10_000), arguments()]),
        (10, attacker.knock, list(ROUTES)),
    ]
    for share, send, strategies in shares:
        _draw(st.tuples(*strategies), send, cases * share // 100, number, attacker.until)


def _draw(cases: st.SearchStrategy[Any], send: Callable[..., None], count: int, number: int, until: float) -> None:
    """Send `count` cases, a hundred to a seed; hypothesis ends early where it finds nothing new."""
    sent = 0

    def one(case: tuple[Any, ...]) -> None:
        nonlocal sent
        sent += 1
        send(*case)

    for turn in range(count):
        if sent >= count or time.perf_counter() > until:
            return
        configured = settings(
            max_examples=min(100, count - sent),
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        seed(number + turn)(configured(given(cases)(one)))()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0, help="send nothing more after so long")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-fuzz-") as name:
        place = Path(name)
        with served(place) as (address, process):
            run = Api(address).finished(OWNER)
            attacker = Attacker(address, run, OWNER, secrets=(str(place / "home"),))
            attack(attacker, options.cases // 20, options.seed + 1_000)  # what is loaded once is loaded
            before, began = process.memory_info().rss, time.perf_counter()
            attacker.until = began + options.seconds
            warm = {family: len(tally.seconds) for family, tally in attacker.tallies.items()}
            with Watcher(address) as watcher:
                attack(attacker, options.cases, options.seed)
            took, after = time.perf_counter() - began, process.memory_info().rss
            alive = process.is_running() and attacker.client.get("/config").status_code == 200
        outside = written_outside(place)
        attacker.tallies["log"].findings += faults(place / "home" / "log")
        told = CANARY.encode() in b"".join(p.read_bytes() for p in place.rglob("*") if p.is_file())
    return report(attacker, warm, took, before, after, watcher, alive, outside, told)


def report(
    attacker: Attacker,
    warm: dict[str, int],
    took: float,
    before: int,
    after: int,
    watcher: Watcher,
    alive: bool,
    outside: list[str],
    told: bool,
) -> int:
    head = ("requests", "2xx", "3xx", "4xx", "5xx", "p50 ms", "max s")
    print(f"{'family':<24}" + "".join(f"{title:>9}" for title in head))
    findings: list[str] = []
    for family, tally in attacker.tallies.items():
        by = Counter[int]()
        for status, number in tally.statuses.items():
            by[status // 100] += number
        times = sorted(tally.seconds[warm.get(family, 0) :]) or [0.0]
        print(
            f"{family:<24}{len(tally.seconds):>9}{by[2]:>9}{by[3]:>9}{by[4]:>9}{by[5]:>9}"
            f"{times[len(times) // 2] * 1000:>9.1f}{times[-1]:>9.2f}"
        )
        findings += [f"{family}: {finding}" for finding in tally.findings]
    grown = (after - before) / 2**20
    print(f"server alive: {alive}; {took:.0f} s; memory {before >> 20} -> {after >> 20} MiB ({grown:+.0f})")
    asked, most = len(watcher.seconds), max(watcher.seconds, default=0.0)
    print(f"/health meanwhile: {asked} asked, p99 {watcher.slowest:.2f} s, max {most:.2f} s")
    print(f"files outside the home: {len(outside)}; token in what was written: {told}")
    findings += [f"written outside: {path}" for path in outside]
    for finding in findings[:200]:
        print("FINDING", finding)
    print(f"{len(findings)} findings")
    return int(bool(findings) or not alive or told or grown > GROWN or watcher.slowest > HEALTH)


def faults(folder: Path) -> list[str]:
    """The kinds of errors in the log: the innermost place of ours and the type, with how many there were."""
    found: Counter[str] = Counter()
    for path in folder.glob("*.log*"):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            told = json.loads(line) if line.startswith("{") else {}
            for error in told.get("errors", ())[:1]:
                places = error.get("at") or ["nowhere"]
                found[f"{told.get('event')}: {error.get('type')} at {places[-1]}"] += 1
    return [f"{number} x {kind}" for kind, number in found.most_common()]


def written_outside(place: Path) -> list[str]:
    """What was written neither in the home nor among the files made for downloads and uploads."""
    found = [path for name in ("user", "cwd") for path in (place / name).rglob("*") if path.is_file()]
    kept = {"lethe-", "gradio", "tmp", "torch", "matplotlib", ".X"}
    found += [p for p in (place / "tmp").iterdir() if not p.name.startswith(tuple(kept))]
    return [str(path.relative_to(place)) for path in found]


if __name__ == "__main__":
    sys.exit(main())
