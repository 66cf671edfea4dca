"""A public or private server in a process of its own, its endpoints by name, and somebody who watches its health."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil

MIB = 2**20
CANARY = "hf_canary0123456789abcdefghijklmnop"  # the server's token, which nobody may ever see
OVER = ("finished", "cancelled", "failed", "interrupted")
LIFTED = """
from unlearn_core import limits
for kind, one in list(limits.ALLOWANCES.items()):
    limits.ALLOWANCES[kind] = limits.Allowance(one.title, 10**15, one.seconds)
limits.RUNS_OF_AN_ADDRESS = limits.CALLS_OF_AN_ADDRESS = 10**6
"""
SERVER = """
import sys
from unlearn_core.cli import main
sys.exit(main(["serve", *sys.argv[1:]]))
"""


@contextlib.contextmanager
def served(place: Path, *, public: bool = True, lifted: bool = True) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a server that may write nowhere but below `place`, its home in `place`/home, and its process.

    lifted: without quotas, for requests that all come from one address; every other limit holds.
    """
    folders = {name: place / name for name in ("home", "gradio", "tmp", "user", "cwd")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = {
        **os.environ,
        "LETHE_HOME": str(folders["home"]),
        "GRADIO_TEMP_DIR": str(folders["gradio"]),
        "TMPDIR": str(folders["tmp"]),
        "HOME": str(folders["user"]),
        "HF_TOKEN": CANARY,
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
    }
    script = (LIFTED if lifted else "") + SERVER
    command = [sys.executable, "-c", script, "--port", port, *(["--public"] if public else [])]
    with (place / "output").open("wb") as output:
        child = subprocess.Popen(command, cwd=folders["cwd"], env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_for(address, child)
        yield address, psutil.Process(child.pid)
    finally:
        child.terminate()
        try:
            child.wait(60)
        except subprocess.TimeoutExpired:  # a busy machine; what was found is told all the same
            child.kill()
            child.wait()


def _wait_for(address: str, child: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if child.poll() is not None:
            raise RuntimeError("the server ended before it began")
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"{address}/health", timeout=5)
            return
        time.sleep(0.1)
    raise RuntimeError("the server does not answer")


class Api:
    """A server's endpoints by name."""

    def __init__(self, address: str) -> None:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=50, keepalive_expiry=3)
        self.client = httpx.Client(base_url=address, timeout=900, limits=limits)
        named = self.client.get("/gradio_api/info").json()["named_endpoints"]
        self.endpoints = {name.strip("/"): told["parameters"] for name, told in named.items()}

    def __call__(self, name: str, /, **given: Any) -> tuple[Any, str]:
        """What an endpoint returns, and "", or None and the words of its refusal."""
        answer = self.post(name, **given)
        if answer.status_code == 200:
            return answer.json()["data"][0], ""
        if answer.status_code >= 500:
            raise RuntimeError(f"{name}: {answer.status_code} {answer.text[:200]}")
        return None, str(answer.json()["error"])

    def post(self, name: str, /, headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
        """The bare answer of an endpoint."""
        return self.client.post(f"/gradio_api/run/{name}", json={"data": self.filled(name, **given)}, headers=headers)

    def filled(self, name: str, /, **given: Any) -> list[Any]:
        """An endpoint's parameters in order, those that are not given at their defaults."""
        return [given.get(one["parameter_name"], one.get("parameter_default")) for one in self.endpoints[name]]

    @functools.cached_property
    def known_fact(self) -> str:
        """A fact that the bundled model knows, as typed data: another is refused by a run."""
        told, _ = self("list_facts", split="forget")
        return f"facts:{told[0]['prompt']} => {told[0]['answer']}"

    def start(self, owner: str, seed: int = 0) -> tuple[Any, str]:
        """Start a run of two steps."""
        form = {"data": self.known_fact, "method": "npo", "settings": {"steps": 2}, "retain_data": "general"}
        return self("start_run", **form, seed=seed, owner=owner)

    def status(self, run: str) -> str:
        told, refused = self("run_status", run_id=run, since=0)
        return str(told["status"]) if told else refused

    def finished(self, owner: str, seed: int = 0) -> str:
        """The id of a run that was started and came to its end."""
        told, refused = self.start(owner, seed)
        if not told:
            raise SystemExit(f"a run was refused: {refused}")
        while (state := self.status(told["run_id"])) not in OVER:
            time.sleep(0.1)
        if state != "finished":
            raise SystemExit(f"a run ended as {state}")
        return str(told["run_id"])


class Watcher:
    """Asks for /health twice a second, as somebody else would, for as long as it is open."""

    def __init__(self, address: str) -> None:
        self.seconds: list[float] = []
        self._address, self._over = address, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with httpx.Client(base_url=self._address, timeout=60) as client:
            while not self._over.wait(0.5):
                began = time.perf_counter()
                client.get("/health")
                self.seconds.append(time.perf_counter() - began)

    @property
    def slowest(self) -> float:
        """Seconds within which 99 of 100 were answered."""
        return sorted(self.seconds)[int(0.99 * (len(self.seconds) - 1))] if self.seconds else 0.0
