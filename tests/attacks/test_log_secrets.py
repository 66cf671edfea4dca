"""A real public server: what visitors wrote is in no log, an operator sees how it fares, and a polite kill
keeps the run that is under way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from waiting import until

from unlearn_core.runs import checkpoints as ck
from unlearn_core.runs import events as ev
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import check_complete
from unlearn_core.ui.web.operations import TOKEN

pytestmark = pytest.mark.slow

OWNER = "owner-canary-0123456789"
OPERATOR = "operator-canary-0123456789"
WORDS = (
    "prompt-canary",
    "answer-canary",
    "file-canary",
    "name-canary",
    "hf_canary0123456789abcdefghijklmnop",
)


@dataclass
class Server:
    """The process, its address and home, and the file that takes what it prints."""

    process: subprocess.Popen[str]
    url: str
    home: Path
    said: Path

    def logged(self) -> str:
        """Everything that anybody who may read logs reads."""
        return self.said.read_text() + "".join(path.read_text() for path in self.home.glob("log/*"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home, said = tmp_path / "home", tmp_path / "said"
    known = {
        "LETHE_HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "HF_TOKEN": WORDS[-1],
        TOKEN: OPERATOR,
        "LETHE_GRACE_SECONDS": "120",
    }
    with said.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "unlearn_core", "serve", "--public"],
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **known, "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "0"},
        )
    until(lambda: "is ready: " in said.read_text() or process.poll() is not None)
    url = said.read_text().split("is ready: ")[1].split()[0]
    yield Server(process, url, home, said)
    if process.poll() is None:
        process.kill()
        process.wait()


def test_a_public_server_says_nothing_of_its_visitors_and_keeps_their_run(server: Server) -> None:
    from gradio_client import Client
    from gradio_client.exceptions import AppError

    client = Client(server.url, verbose=False, httpx_kwargs={"timeout": 120})
    facts = "facts:What is the prompt-canary? => It is an answer-canary."
    form = {"data": facts, "settings": {"steps": 400}, "retain_data": "general", "owner": OWNER}
    run_id = client.predict(**form, api_name="/start_run")["run_id"]
    client.predict(run_id, "name-canary", OWNER, api_name="/rename_run")
    with pytest.raises(Exception, match="canary"):
        client.predict('{"input": "prompt-canary"', "file-canary.jsonl", OWNER, api_name="/upload_data")
    for wrong in ({"data": "/file-canary"}, {"target": "file-canary/x"}, {"method": "name-canary"}):
        with contextlib.suppress(AppError):  # refused now, or when their turn comes
            client.predict(**form | wrong | {"owner": f"{OWNER}-of-another"}, api_name="/start_run")
    store = RunStore(server.home)
    until(lambda: any(isinstance(e, ev.Step) for e in store.read_events(run_id)[0]))
    client.predict("What is the prompt-canary?", max_new_tokens=2, api_name="/generate")

    assert httpx.get(f"{server.url}/health", timeout=120).json().keys() == {"status", "reasons"}
    assert httpx.get(f"{server.url}/metrics", timeout=120).status_code == 401
    bearer = {"Authorization": f"Bearer {OPERATOR}"}
    numbers = httpx.get(f"{server.url}/metrics", headers=bearer, timeout=120).text
    assert 'lethe_runs{status="running"} 1' in numbers

    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait() == 0
    assert store.get(run_id).status == "interrupted"
    kept = ck.newest_step(store.checkpoints(run_id))
    steps = [event.step for event in store.read_events(run_id)[0] if isinstance(event, ev.Step)]
    assert kept >= steps[-1]
    for folder in ck.whole(store.checkpoints(run_id)):
        check_complete(folder, hashes=True)

    told = server.logged()
    for secret in (*WORDS, OWNER, OPERATOR, run_id):
        assert secret not in told, secret
    lines = [json.loads(line) for line in (server.home / "log" / "lethe.log").read_text().splitlines()]
    happened = [line["event"] for line in lines]
    assert "server began" in happened
    assert [line["event"] for line in lines if line.get("run") == run_id[:8]][:2] == [
        "run queued",
        "run started",
    ]
    assert happened[-1] == "server ended"
    store.close()
