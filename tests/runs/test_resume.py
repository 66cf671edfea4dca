"""Runs that were interrupted, by a shutdown or by kill -9, and go on to the same scores."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core import RunSpec, RunStore, Worker, run
from unlearn_core.cli import main
from unlearn_core.errors import InputError, ResourceError
from unlearn_core.runs import checkpoints as ck
from unlearn_core.runs import events as ev
from unlearn_core.runs.control import Control
from unlearn_core.runs.state import RunState
from unlearn_core.system.files import check_complete

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

STEPS = 8  # as many as a spec of the memorised model has


def result(events: list[ev.Event]) -> dict[str, Any]:
    """The scores of a finished run, without what tells of the machine, and its verdict."""
    assert isinstance(events[-1], ev.Finished), events[-1]
    told = [ev.to_json(event) for event in events if isinstance(event, ev.Score)]
    scores = {t["model"]: {**t["scores"], "seconds": None, "details": None} for t in told}
    found: dict[str, Any] = json.loads(json.dumps({"scores": scores, "verdict": events[-1].verdict}))
    return found


def interrupt(spec: RunSpec, home: Path, out: Path, at: int) -> list[ev.Event]:
    """A run that is paused after step `at`, as a server does when it is told to end."""
    control, seen = Control(), []
    events = run(spec, home=home, out=out, control=control, checkpoints=out / "checkpoints")
    for event in events:
        seen.append(event)
        if isinstance(event, ev.Step) and event.step == at:
            control.pause()
            break
    events.close()
    return seen


def test_a_paused_run_goes_on_to_the_same_scores(memorised: Any, tmp_path: Path) -> None:
    spec = memorised.spec()
    whole = list(run(spec, home=tmp_path / "a", out=tmp_path / "a"))
    seen = interrupt(spec, tmp_path, tmp_path, at=3)
    assert [path.name for path in ck.whole(tmp_path / "checkpoints")] == ["3"]
    rest = list(run(spec, home=tmp_path, out=tmp_path, checkpoints=tmp_path / "checkpoints"))
    assert [event.step for event in rest if isinstance(event, ev.Step)] == [4, 5, 6, 7, 8]
    assert result(rest) == result(whole)
    story = RunState()
    for event in [*seen, ev.Failed("killed", kind="interrupted"), ev.Resumed(3), *rest]:
        story.add(event)
    assert [step.step for step in story.steps] == list(range(1, STEPS + 1))
    assert isinstance(story.end, ev.Finished)


@pytest.mark.parametrize(("threads", "cuts"), [(1, (1, 4, 7)), (2, (4,))])
def test_wherever_a_run_is_cut_it_ends_at_the_same_bits(
    memorised: Any, tmp_path: Path, request: pytest.FixtureRequest, threads: int, cuts: tuple[int, ...]
) -> None:
    """Losses of every step and the hash of the weights, computed with one thread and with two."""
    import torch

    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(threads)
    spec = memorised.spec()
    whole = list(run(spec, home=tmp_path, out=tmp_path / "whole"))
    for cut in cuts:
        out = tmp_path / str(cut)
        seen = interrupt(spec, tmp_path, out, cut)
        rest = list(run(spec, home=tmp_path, out=out, checkpoints=out / "checkpoints"))
        assert losses(rest)[0][0] == cut + 1
        assert losses(seen + rest) == losses(whole)
        assert bits(out) == bits(tmp_path / "whole")
        assert result(rest) == result(whole)


def losses(events: list[ev.Event]) -> list[tuple[int, dict[str, float], float]]:
    return [(e.step, e.losses, e.gradient_norm) for e in events if isinstance(e, ev.Step)]


def bits(out: Path) -> str:
    """The hash over the weights that a run kept."""
    return str(check_complete(out / "weights", hashes=True)["weights_hash"])


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_left_alone(memorised: Any, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    interrupt(memorised.spec(), tmp_path, tmp_path, at=3)
    other = list(run(memorised.spec(seed=1), home=tmp_path, checkpoints=folder))
    assert next(event.step for event in other if isinstance(event, ev.Step)) == 1
    shutil.rmtree(folder)
    interrupt(memorised.spec(), tmp_path, tmp_path, at=3)
    (weights,) = folder.rglob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-5] ^= 255
    weights.write_bytes(data)
    again = list(run(memorised.spec(), home=tmp_path, checkpoints=folder))
    assert next(event.step for event in again if isinstance(event, ev.Step)) == 1


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: ck.Checkpoints, snapshot: Any) -> None:
        raise ResourceError("disk", "x", "is full", "Free some space.")

    monkeypatch.setattr(ck.Checkpoints, "due", lambda self: True)
    monkeypatch.setattr(ck.Checkpoints, "write", full)
    events = list(run(memorised.spec(), home=tmp_path, checkpoints=tmp_path / "checkpoints"))
    assert any(isinstance(event, ev.Warned) and "no room" in event.message for event in events)
    assert isinstance(events[-1], ev.Finished)


def test_the_last_whole_checkpoint_stays_until_the_next_is_whole(tmp_path: Path) -> None:
    class Half:
        step = 2

        def write(self, folder: Path) -> None:
            (folder / "part").write_bytes(b"x")
            raise OSError(28, "No space left on device")

    class Whole(Half):
        def write(self, folder: Path) -> None:
            (folder / "part").write_bytes(b"x")

    kept = ck.Checkpoints(tmp_path, {"spec": {}})
    first = Whole()
    first.step = 1
    kept.write(first)  # type: ignore[arg-type]
    with pytest.raises(ResourceError):
        kept.write(Half())  # type: ignore[arg-type]
    assert ck.newest_step(tmp_path) == 1
    kept.write(Whole())  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["2"]


def test_a_checkpoint_that_was_being_removed_is_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two of the files that are removed."""

    class Some:
        def __init__(self, step: int) -> None:
            self.step = step

        def write(self, folder: Path) -> None:
            (folder / "part").write_bytes(b"x")

    def cut_short(folder: Path, ignore_errors: bool = False) -> None:
        for part in folder.glob("part"):
            part.unlink()
            raise KeyboardInterrupt

    kept = ck.Checkpoints(tmp_path, {"spec": {}})
    kept.write(Some(1))  # type: ignore[arg-type]
    monkeypatch.setattr(shutil, "rmtree", cut_short)
    with pytest.raises(KeyboardInterrupt):
        kept.write(Some(2))  # type: ignore[arg-type]
    assert [path.name for path in ck.whole(tmp_path)] == ["2"]
    assert kept.latest() == tmp_path / "2"


def test_a_server_that_ends_leaves_a_run_that_its_owner_can_resume(memorised: Any, tmp_path: Path) -> None:
    spec = memorised.spec(steps=40)
    whole = result(list(run(spec, home=tmp_path / "a", out=tmp_path / "a")))
    store = RunStore(tmp_path / "home")
    worker = Worker(store)
    run_id = worker.submit(spec, "me")
    until(lambda: any(isinstance(e, ev.Step) and e.step >= 3 for e in store.read_events(run_id)[0]))
    worker.close()
    assert store.get(run_id).status == "interrupted"
    assert ck.newest_step(store.checkpoints(run_id)) >= 3
    worker = Worker(store)
    with pytest.raises(InputError, match="not a run that is here for you"):
        worker.resume(run_id, "you")
    worker.resume(run_id, "me")
    worker.resume(run_id, "me")  # a double click
    assert worker.wait(run_id)
    events = store.read_events(run_id)[0]
    assert sum(isinstance(event, ev.Resumed) for event in events) == 1
    after = max(i for i, event in enumerate(events) if isinstance(event, ev.Resumed))
    assert result(events[after:]) == whole
    assert not store.checkpoints(run_id).exists()
    with pytest.raises(InputError, match="is finished"):
        worker.resume(run_id, "me")
    worker.close()


def test_a_killed_command_is_resumed_from_the_command_line(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    flags = ["--target", memorised.model, "--data", memorised.data, "--method", "grad_diff", "--steps", "200"]
    code = (
        "import sys; from unlearn_core.runs import checkpoints as ck; ck.EVERY, ck._SHARE = 0.0, 1e9\n"
        "from unlearn_core.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    environment = {**os.environ, "LETHE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [sys.executable, "-c", code, "run", *flags],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until(lambda: any(home.glob("runs/*/checkpoints/[0-9]*")))
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    (folder,) = home.glob("runs/*")
    monkeypatch.setenv("LETHE_HOME", str(home))
    store = RunStore(home)
    assert store.get(folder.name).status == "interrupted"
    assert main(["run", "--resume", folder.name]) == 0
    events = store.read_events(folder.name)[0]
    resumed = next(event for event in events if isinstance(event, ev.Resumed))
    steps = [event.step for event in events[events.index(resumed) :] if isinstance(event, ev.Step)]
    assert steps == list(range(resumed.step + 1, 201))
    assert resumed.step > 0
    assert "Weights" in capsys.readouterr().out
    assert main(["run", "--resume", folder.name]) == 2
    assert main(["run", "--resume", "no-such-run-at-all"]) == 2
