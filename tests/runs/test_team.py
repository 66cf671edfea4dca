"""A run shared by two processes: the store follows it live, a killed process leaves it resumable, Ctrl-C
cancels it, and what it exports is a plain model."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from unlearn_core import RunStore
from unlearn_core.runs import events as ev

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = 20
# The command of every process, with a checkpoint after each step.
COMMAND = """
import sys, torch
torch.set_num_threads(1)
from unlearn_core.runs import checkpoints
checkpoints.EVERY, checkpoints._SHARE = 0.0, 1e9
from unlearn_core.cli import main
sys.exit(main(sys.argv[1:]))
"""


def launch(home: Path, *words: str) -> list[subprocess.Popen[str]]:
    """Two processes as the launcher starts them; process 0 writes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "LETHE_HOME": str(home)}
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", *words],
            text=True,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**env, **place, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]


def follow(home: Path, until: Callable[[list[Any]], bool], team: list[Any]) -> tuple[str, list[Any]]:
    """What a page reads of the one run in the store while it goes on, until that is enough."""
    store, seen, offset = RunStore(home), [], 0
    try:
        end = time.monotonic() + 400
        while time.monotonic() < end:
            runs = store.list_runs()
            if runs:
                more, offset = store.read_events(runs[0].id, offset)
                seen += more
                if until(seen):
                    return runs[0].id, seen
            if team[0].poll() is not None:
                break
            time.sleep(0.05)
    finally:
        store.close()
    raise AssertionError([process.communicate(timeout=60) for process in team])


def steps(events: list[Any]) -> list[ev.Step]:
    return [event for event in events if isinstance(event, ev.Step)]


def ended(team: list[subprocess.Popen[str]], lead: int) -> None:
    """Wait for all; process 0 must end with the code `lead`, or what they said is shown."""
    told = [process.communicate(timeout=400)[1] for process in team]
    assert team[0].returncode == lead, "\n".join(told)


@pytest.fixture
def spec(memorised: Any, tmp_path: Path) -> str:
    """A spec long enough to be stopped half-way, scored quickly."""
    path = tmp_path / "spec.json"
    settings = {"learning_rate": 1e-4, "batch_size": 6}
    wanted = {"target": memorised.model, "data": memorised.data, "method": "npo", "settings": settings}
    path.write_text(json.dumps({**wanted, "steps": STEPS, "adapter": "full"}))
    return str(path)


def test_a_killed_process_leaves_a_run_that_two_others_finish(spec: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    team = launch(home, spec)
    run_id, _ = follow(home, lambda seen: len(steps(seen)) >= 4, team)
    team[1].send_signal(signal.SIGKILL)
    ended(team, 2)
    store = RunStore(home)
    store.recover()
    assert store.get(run_id).status == "interrupted"
    kept = [path for path in store.checkpoints(run_id).iterdir() if path.name.isdigit()]
    assert len(list(kept[-1].glob("*.distcp"))) == 2  # each process wrote its shards

    ended(launch(home, "--resume", run_id), 0)
    events, _ = store.read_events(run_id)
    record = store.get(run_id)
    assert record.status == "finished"
    seen = [step.step for step in steps(events)]
    assert seen[-1] == STEPS
    assert seen.count(1) == 1  # it went on from a checkpoint, and did not begin again
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(store.weights(run_id))
    store.close()


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_cancels_the_run_of_both(spec: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    team = launch(home, spec)
    run_id, _ = follow(home, lambda seen: len(steps(seen)) >= 2, team)
    for process in team:
        process.send_signal(signal.SIGINT)
    ended(team, 130)
    store = RunStore(home)
    assert store.get(run_id).status == "cancelled"
    assert not store.checkpoints(run_id).exists()
    store.close()
