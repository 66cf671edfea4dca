"""A Space with ZeroGPU, played by a decorator that forks: only what the call yields comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from unlearn_core.jobs import zerogpu

pytestmark = pytest.mark.slow

FAKES = Path(__file__).parents[1] / "fakes"
VISIT = """
import json, sys, time
import spaces
from unlearn_core.models.targets import load_target
from unlearn_core.jobs import zerogpu
from unlearn_core.runs.checkpoints import newest_step
from unlearn_core.runs.events import Step
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.studio import Studio

model, data, home = sys.argv[1:]
studio = Studio(home)
store, worker = studio.store, studio.worker
before = load_target(model).weights_hash
told = {}

def trains(run_id):
    while not any(isinstance(event, Step) for event in store.read_events(run_id)[0]):
        time.sleep(0.02)

def carry_out(steps, then=lambda run_id: None):
    run_id = worker.submit(RunSpec(target=model, data=data, method="npo", steps=steps, adapter="lora"))
    then(run_id)
    worker.wait(run_id)
    return run_id

def stop(run_id):
    trains(run_id)
    worker.cancel(run_id)

def end(run_id):
    trains(run_id)
    worker.finish_early(run_id)

told["whole"] = carry_out(4)
told["stopped"] = carry_out(100_000, stop)
told["ended early"] = carry_out(100_000, end)
spaces.CUT_AFTER = 12
told["cut"] = carry_out(100_000)
spaces.CUT_AFTER = None
told["cut message"] = store.get(told["cut"]).message
told["status"] = {name: store.get(told[name]).status for name in ("whole", "stopped", "ended early", "cut")}
told["calls"], told["unchanged"] = spaces.CALLS, load_target(model).weights_hash == before
worker.close()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def visit(memorised: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """What happened on the Space, and its home."""
    home = tmp_path_factory.mktemp("space")
    path = os.pathsep.join((str(FAKES), str(Path(zerogpu.__file__).parents[2])))
    given = {"SPACES_ZERO_GPU": "true", "PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-c", VISIT, memorised.model, memorised.data, str(home)],
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), home


def test_the_run_is_stored_and_its_adapter_makes_the_unlearned_model(visit: Any, memorised: Any) -> None:
    import torch
    from peft import PeftModel

    from unlearn_core.models.targets import load_target
    from unlearn_core.store.store import RunStore

    told, home = visit
    assert told["status"]["whole"] == "finished"
    weights = RunStore(home).weights(told["whole"])
    original, unlearned = load_target(memorised.model), load_target(str(weights))
    assert unlearned.weights_hash != original.weights_hash
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        wanted = unlearned.model(ids).logits
        assert not torch.allclose(original.model(ids).logits, wanted, atol=1e-3)
        (place,) = weights.glob("adapter/**/adapter_config.json")
        adapted = PeftModel.from_pretrained(original.model, str(place.parent))
        torch.testing.assert_close(adapted(ids).logits, wanted, atol=1e-4, rtol=1e-4)


def test_every_run_is_one_call_in_another_process_with_seconds_by_its_spec(visit: Any) -> None:
    told, _ = visit
    assert told["unchanged"]  # the model of the page's own process
    processes = [call["process"] for call in told["calls"]]
    assert len(set(processes)) == len(processes) == 4
    short, long = told["calls"][0]["asked"], told["calls"][1]["asked"]
    assert zerogpu.LEAST_SECONDS <= short < long == zerogpu.MOST_SECONDS


def test_buttons_reach_the_call(visit: Any) -> None:
    told, home = visit
    assert told["status"]["stopped"] == "cancelled"
    assert told["status"]["ended early"] == "finished"
    assert not list((home / "runs" / told["ended early"]).glob(".*"))  # nothing left lying


def test_a_call_that_the_platform_ends_is_told_in_its_words_and_can_be_resumed(visit: Any) -> None:
    told, _ = visit
    assert told["status"]["cut"] == "interrupted"
    assert told["cut message"].startswith("ZeroGPU worker error: GPU task aborted. Resume")


def test_elsewhere_the_decorator_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not zerogpu.available()
    assert zerogpu.on_gpu is zerogpu._on_gpu
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", None)  # the package is not installed
    assert not zerogpu.available()
