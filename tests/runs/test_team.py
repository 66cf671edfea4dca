"""A run shared by two processes: the store follows it live, a killed process leaves it resumable, Ctrl-C
cancels it, and what it exports is a plain model."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from preloaded import Child

from unlearn_core import RunStore
from unlearn_core.runs import events as ev

pytestmark = pytest.mark.slow

STEPS = 12


def command(share: float, *words: str) -> int:
    """What every process does, with a checkpoint after the first step, and others that take `share` of the time."""
    from unlearn_core.cli import main
    from unlearn_core.runs import checkpoints

    checkpoints.EVERY, checkpoints._SHARE = 0.0, share
    return main(["run", *words])


def launch(home: Path, *words: str, share: float = 1e9) -> list[Child]:
    """Two processes as the launcher starts them; process 0 writes. Without a `share` each step has its checkpoint."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"LETHE_HOME": str(home), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        Child(
            command,
            share,
            *words,
            environment={**place, "RANK": rank, "LOCAL_RANK": rank},
            said=home.parent / f"said by {rank} at {port}",
        )
        for rank in ("0", "1")
    ]


def follow(home: Path, until: Callable[[list[Any]], bool], team: list[Child]) -> tuple[str, list[Any]]:
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
    raise AssertionError([child.wait() for child in team])


def steps(events: list[Any]) -> list[ev.Step]:
    return [event for event in events if isinstance(event, ev.Step)]


def ended(team: list[Child], lead: int) -> None:
    """Wait for all; process 0 must end with the code `lead`, or what they said is shown."""
    (code, _), *_ = told = [child.wait() for child in team]
    assert code == lead, told


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
    run_id, _ = follow(home, lambda seen: len(steps(seen)) >= 2, team)
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


def test_ctrl_c_cancels_the_run_of_both(spec: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    team = launch(home, spec, "--steps", "100000", share=0.01)
    run_id, _ = follow(home, lambda seen: len(steps(seen)) >= 2, team)
    for child in team:
        child.send_signal(signal.SIGINT)
    ended(team, 130)
    store = RunStore(home)
    assert store.get(run_id).status == "cancelled"
    assert not store.checkpoints(run_id).exists()
    store.close()
