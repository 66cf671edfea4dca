"""Two processes that share a run train to the same losses and weights as one, and score each row once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORK = """
import json, os, sys, torch
torch.set_num_threads(1)
from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.system.machine import distributed
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import LoopStep, unlearn
from unlearn_core.training.resources import activation_memory
distributed.join()
target, data = load_target("demo"), load_data("demo")
found, again, checkpoint = {}, [], activation_memory.checkpoint
activation_memory.checkpoint = lambda *given, **named: (again.append(1), checkpoint(*given, **named))[1]
for name, adapter in (("npo", "full"), ("kl", "lora")):
    os.environ["FSDP_ACTIVATION_CHECKPOINTING"] = str(adapter == "lora")  # as the launcher would ask for it
    method = methods.build(name, {"batch_size": 6}, 3)
    records = unlearn(target.model, target.tokenizer, data, method, adapter=adapter)
    losses = []
    while True:
        try:
            record = next(records)
        except StopIteration as stop:
            artifact = stop.value
            break
        if isinstance(record, LoopStep):
            losses.append([record.losses["total"], record.gradient_norm])
    found[name] = {"losses": losses, "change": artifact.changed()["relative_change"], "again": len(again)}
    artifact.release()
mine = {place: place * place for place in distributed.share(range(7))}
found["merged"] = distributed.merge(mine, 7)
if distributed.rank() == 0:
    print(json.dumps(found), flush=True)
distributed.leave()
os._exit(0)  # at an ordinary exit gloo's threads may be found running, which ends the process by a signal
"""


def outcome(processes: int, port: int) -> dict[str, dict[str, object]]:
    base = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        base.pop(name, None)
    started = []
    for rank in range(processes):
        place = {
            "RANK": str(rank),
            "WORLD_SIZE": str(processes),
            "LOCAL_RANK": str(rank),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        env = base | place if processes > 1 else base
        started.append(subprocess.Popen([sys.executable, "-c", WORK], env=env, stdout=subprocess.PIPE, text=True))
    outs = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * processes
    found: dict[str, dict[str, object]] = json.loads(outs[0].strip().splitlines()[-1])
    return found


def test_two_processes_train_as_one_does() -> None:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    one, two = outcome(1, port), outcome(2, port)
    for name in ("npo", "kl"):
        for a, b in zip(one[name]["losses"], two[name]["losses"], strict=True):  # type: ignore[call-overload]
            assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
        assert two[name]["change"] == pytest.approx(one[name]["change"], rel=1e-2)
    assert two["npo"]["again"] == 0 < two["kl"]["again"]  # type: ignore[operator]  # layers computed twice
    assert two["merged"] == [0, 1, 4, 9, 16, 25, 36]
