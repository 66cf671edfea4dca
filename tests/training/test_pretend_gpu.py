"""The GPU's own paths, on a pretend device (tests/fakes/cuda.py): what a real one would refuse is refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "fakes" / "cuda.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="the device's library is compiled here"),
]

SCRIPT = """
import json, os, sys, torch
pretend.on()
sys.path.insert(0, "benchmarks")
from dataclasses import replace
from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.models.generation import cuda_graph
from unlearn_core.models.generation.generate import generate_all
from unlearn_core.models.inference import packed
from unlearn_core.models.targets import load_target
from unlearn_core.runs.planning import costs
from unlearn_core.training.loop import unlearn
from unlearn_core.training.records import LoopStep

found = {}
here, there = torch.ones(3), torch.ones(3, device="cuda")
said = []
tried = (
    lambda: here + there,
    lambda: there.numpy(),
    lambda: float((there + 1).sum()),
    lambda: (here.to("cuda") + there).tolist(),
)
pretend.forget()
for work in tried:
    try:
        said.append(str(work()))
    except Exception as error:
        said.append(type(error).__name__)
found["device"] = {"said": said, "waits": sum(pretend.waits().values())}

data = load_data("demo")
data = replace(data, forget=data.forget[:8], retain=data.retain[:8], holdout=data.holdout[:8], general=data.general[:8])
target = load_target("demo", device="cuda")
found["cudnn"] = [torch.backends.cuda.cudnn_sdp_enabled()]
from shapes import random_olmo
torch.backends.cuda.enable_cudnn_sdp(True)
random_olmo("olmo-tiny")
found["cudnn"].append(torch.backends.cuda.cudnn_sdp_enabled())

def train(name, adapter):
    method = methods.build(name, {"batch_size": 4}, 3)
    run, steps, notes = unlearn(target.model, target.tokenizer, data, method, adapter=adapter, probe_ids=()), [], []
    while True:
        pretend.forget()
        try:
            record = next(run)
        except StopIteration as stop:
            kind = str(stop.value.model.dtype)
            back = str(stop.value.release().dtype)
            return {"steps": steps, "notes": notes, "type": kind, "back": back}
        if isinstance(record, LoopStep):
            steps.append((record.losses["total"], dict(pretend.waits()), dict(pretend.copies())))
        elif hasattr(record, "message"):
            notes.append(record.message)

for name, adapter in (("npo", "full"), ("lethe", "full"), ("kl", "lora")):
    found[name] = train(name, adapter)
packed._flash = packed._one_by_one
packed._fault.cache_clear()
found["flat npo"] = train("npo", "full")
found["flat uld"] = train("uld", None)

made = []
record = cuda_graph.CudaGraphCache._record
cuda_graph.CudaGraphCache._record = lambda self, step: made.append(1) or record(self, step)
prompts = [row.input for row in data.forget]
texts = generate_all(target.model, target.tokenizer, prompts, 12)
found["graphs"] = len(made)
os.environ["LETHE_PLAIN_GPU"] = "1"
found["same text"] = texts == generate_all(target.model, target.tokenizer, prompts, 12)
numbers, refused = torch.arange(4, device="cuda"), []
for step in (lambda: numbers[numbers > 1], lambda: numbers + torch.arange(4).to("cuda"), lambda: numbers.unique()):
    replay = cuda_graph.CudaGraphCache(True)
    outs = [replay("key", step).tolist() for _ in range(3)]
    refused.append((replay.on, outs[0] == outs[2]))
found["refused"] = refused

calls = []
torch.cuda.reset_peak_memory_stats = lambda *_: calls.append("reset")
torch.cuda.max_memory_allocated = lambda *_: 7
meter, place = costs.RunMeter(), costs.device(None)
found["cost"] = {"calls": calls, "memory": meter.cost(place).memory, "name": place.name}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process on the device came to."""
    path = tmp_path_factory.mktemp("gpu") / "script.py"
    path.write_text(SCRIPT, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(FAKE), str(path)], env=env, capture_output=True, text=True, timeout=300, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_pretend_device_refuses_what_a_real_one_would(found: Any) -> None:
    """Without this, nothing below would mean anything."""
    assert found["device"]["said"] == ["RuntimeError", "TypeError", "6.0", "[2.0, 2.0, 2.0]"]
    assert found["device"]["waits"] == 2


@pytest.mark.parametrize("name", ["npo", "lethe", "kl"])
def test_a_step_waits_for_the_gpu_once(found: Any, name: str) -> None:
    """To read its numbers; what goes there goes in copies that nothing waits for. The last step: before
    that, what is taken for granted about the model is tried."""
    _, waits, copies = found[name]["steps"][-1]
    assert sum(waits.values()) == 1, waits
    assert not copies
    assert found[name]["type"] == ("torch.bfloat16" if name == "kl" else "torch.float32")
    assert found[name]["back"] == "torch.bfloat16"


def test_what_is_slower_than_it_could_be_is_said(found: Any) -> None:
    """This build has no flash kernel, and the sequences are padded; cuDNN's attention is off, in the benchmarks' own
    models too."""
    assert any("padded" in note and "flash_attention" in note for note in found["npo"]["notes"])
    assert not any("padded" in note for note in found["flat npo"]["notes"])
    assert any("float32 and stay so" in note for note in found["flat npo"]["notes"])
    assert found["cudnn"] == [False, False]


def test_flat_sequences_train_as_padded_ones_do(found: Any) -> None:
    """With attention sequence by sequence for a kernel; ULD's assistant attends as its model does."""
    flat, padded = ([step[0] for step in found[name]["steps"]] for name in ("flat npo", "npo"))
    assert flat == pytest.approx(padded, rel=0.03)
    assert len(found["flat uld"]["steps"]) == 3


def test_a_recorded_step_writes_the_same_text_and_one_that_cannot_be_recorded_is_not(found: Any) -> None:
    assert found["same text"]
    assert found["graphs"] >= 1
    assert found["refused"] == [[False, True]] * 3


def test_what_a_run_took_is_counted_from_its_beginning_and_told_of_the_gpu_by_name(found: Any) -> None:
    assert found["cost"] == {"calls": ["reset"], "memory": 7, "name": "this pretend"}
