"""What an operator sees: health with reasons, numbers for machines and people, and for nobody else."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from golden_page import assert_golden
from starlette.applications import Starlette
from starlette.testclient import TestClient
from waiting import until

from unlearn_core.jobs import health
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.ui.web import operations
from unlearn_core.ui.web.operations import routes

SPEC = RunSpec(method="npo", name="Mara Venn", data="facts:Where is Mara? => Oldport")
FORM = re.compile(r'(# (HELP|TYPE) \w+ .+|[a-z_]+(\{status="[a-z]+"\})? -?\d+\.\d+(e\+\d+)?)')


def slow(spec: RunSpec, **_: Any) -> Iterator[ev.Event]:
    yield ev.RunStarted(spec.to_json(), ("unlearn",), 10**6, "cpu")
    for step in range(10**6):
        time.sleep(0.005)
        yield ev.Step(step, 10**6, {"total": 0.0}, 1e-3, 0.0, 0.0, 0.0)


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is not to be judged, and health is looked at anew each time."""
    monkeypatch.setattr(health, "memory", lambda: (2**30, 2**34))
    monkeypatch.setattr(health, "disk_free", lambda folder: 2**40)
    monkeypatch.setattr(operations, "_KEPT", 1e-6)
    monkeypatch.delenv(operations.TOKEN, raising=False)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(RunStore(tmp_path / "home"), runner=slow)
    yield made
    made.close()


def client(worker: Worker, public: bool = False, near: bool = True) -> TestClient:
    app = Starlette(routes=routes(worker, public))
    return TestClient(app, client=("127.0.0.1" if near else "203.0.113.9", 50_000))


def test_health_is_ok_and_names_each_reason_when_it_is_not(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = client(worker, public=True, near=False)
    assert ask.get("/health").status_code == 200
    assert ask.get("/health").json() == {"status": "ok", "reasons": []}
    reasons: list[str] = []

    def degraded() -> None:
        said = ask.get("/health")
        assert said.status_code == 503
        assert said.json()["status"] == "degraded"
        reasons.extend(said.json()["reasons"])

    with monkeypatch.context() as patch:
        patch.setattr(health, "disk_free", lambda folder: 0)
        degraded()
    with monkeypatch.context() as patch:
        patch.setattr(health, "memory", lambda: (95, 100))
        degraded()
    kept = worker.store.runs.rename(worker.store.home / "gone")
    degraded()
    kept.rename(worker.store.runs)
    with monkeypatch.context() as patch:
        patch.setattr(type(worker), "alive", False)
        patch.setattr(worker._watchdog, "look", lambda: None)
        degraded()
    assert ask.get("/health").json()["status"] == "ok"
    found = health.numbers(worker)
    for family in found:  # the same on every machine
        family.samples = [one._replace(value=2**30 if "_bytes" in one.name else 90.0) for one in family.samples]
    assert_golden("operations", operations._page(health.Health("degraded", tuple(reasons)), found))


def test_the_numbers_tell_of_queue_runs_and_memory_in_prometheus_form(worker: Worker) -> None:
    running, waiting = worker.submit(SPEC), worker.submit(SPEC)
    until(lambda: worker.store.get(running).status == "running")
    said = client(worker).get("/metrics")
    assert said.headers["content-type"].startswith("text/plain; version=")
    lines = said.text.splitlines()
    assert [line for line in lines if not FORM.fullmatch(line)] == []
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values['lethe_runs{status="running"}'] == "1.0"
    assert values['lethe_runs{status="queued"}'] == "1.0"
    assert {values[f"lethe_{name}"] for name in ("queue_length", "working", "healthy")} == {"1.0"}
    assert float(values["lethe_memory_bytes"]) > 2**20
    page = client(worker).get("/operations")
    assert "text/html" in page.headers["content-type"]
    for words in ("Mara", "Oldport", waiting, running, str(worker.store.home)):
        assert words not in said.text + page.text


@pytest.mark.parametrize("path", ["/metrics", "/operations"])
def test_numbers_are_for_this_machine_or_the_operators_token(
    path: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client(worker).get(path).status_code == 200
    assert client(worker, near=False).get(path).status_code == 404
    assert client(worker, public=True).get(path).status_code == 404  # a proxy is near too
    monkeypatch.setenv(operations.TOKEN, "a-long-token")
    ask = client(worker, public=True, near=False)
    assert ask.get(path).status_code == 401
    assert ask.get(path).headers["www-authenticate"].startswith("Basic")
    for wrong in ("Bearer another", "Bearer ", "Basic !!!", "Basic " + base64.b64encode(b"a:b").decode()):
        assert ask.get(path, headers={"Authorization": wrong}).status_code == 401
    assert ask.get(path, headers={"Authorization": "Bearer a-long-token"}).status_code == 200
    assert ask.get(path, auth=("anybody", "a-long-token")).status_code == 200
