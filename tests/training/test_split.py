"""A model that no process holds whole is scored, trained and saved as one that one process holds."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORK = """
import json, os, sys, torch
torch.set_num_threads(1)
from dataclasses import asdict, replace
from pathlib import Path
from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.evaluation.evaluate import evaluate
from unlearn_core.models import targets
from unlearn_core.models.hashing import weights_hash
from unlearn_core.models.split import gathered, is_split
from unlearn_core.system.machine import distributed
from unlearn_core.training.loop import LoopStep, unlearn

distributed.join()
if distributed.size() > 1:
    targets.is_too_large = lambda needed, free: True
data = load_data("demo")
few = {name: getattr(data, name)[:4] for name in ("general", "questions", "members", "nonmembers", "paraphrases")}
rows = {name: getattr(data, name)[:6] for name in ("forget", "retain", "holdout")}
data = replace(data, **few, **rows, max_new_tokens=8)

def drain(run):
    seen = []
    while True:
        try:
            seen.append(next(run))
        except StopIteration as stop:
            return seen, stop.value

target = targets.load_target("demo", device="cpu")
found = {"split": is_split(target.model), "hash": target.weights_hash}
scores = drain(evaluate(target.model, target.tokenizer, data))[1]
found["before"] = scores.terms, [asdict(one) for one in scores.generations]
for name, adapter in (("npo", "full"), ("kl", "lora")):
    method = methods.build(name, {"batch_size": 6}, 3)
    seen, artifact = drain(unlearn(target.model, target.tokenizer, data, method, adapter=adapter, probe_ids=()))
    losses = [record.losses["total"] for record in seen if isinstance(record, LoopStep)]
    found[name] = {"losses": losses, "change": artifact.changed()["relative_change"]}
    if name == "npo":
        found["after"] = drain(evaluate(artifact.model, target.tokenizer, data))[1].terms
        folder, known = Path(sys.argv[1]) / str(distributed.size()), weights_hash(artifact.model)
        if distributed.rank() == 0:
            artifact.save(folder, target.tokenizer)
            found["saved"] = [known, str(folder)]
        elif found["split"]:
            gathered(artifact.model, keep=False)
    artifact.release()
found["put back"] = weights_hash(target.model) == target.weights_hash
if distributed.rank() == 0:
    print(json.dumps(found), flush=True)
distributed.leave()
os._exit(0)  # at an ordinary exit gloo's threads may be found running, which ends the process by a signal
"""


def outcome(processes: int, folder: Path) -> Any:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    place = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(folder)],
            env={**env, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(processes)
    ]
    told = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * processes, told[0][1][-2000:]
    return json.loads(told[0][0].strip().splitlines()[-1])


def test_two_processes_with_half_a_model_each_come_to_what_one_comes_to(tmp_path: Path) -> None:
    one, two = outcome(1, tmp_path), outcome(2, tmp_path)
    assert two["split"]
    assert not one["split"]
    assert two["hash"] == one["hash"]  # the hash is that of the whole
    assert two["before"] == one["before"]  # every text and every term
    assert two["after"] == pytest.approx(one["after"], abs=0.02)
    for name in ("npo", "kl"):
        assert two[name]["losses"] == pytest.approx(one[name]["losses"], rel=0.02)
        assert two[name]["change"] == pytest.approx(one[name]["change"], rel=0.05)
    assert two["put back"]

    from unlearn_core.models.targets import load_target

    known, folder = two["saved"]
    assert load_target(folder, device="cpu").weights_hash == known  # what was saved is what was scored
