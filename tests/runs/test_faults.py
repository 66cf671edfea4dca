"""Faults that really happen to a run: a disk that fills up, memory that runs out, numbers that overflow."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import until

from unlearn_core import RunSpec, RunStore, Worker, run
from unlearn_core.errors import ResourceError
from unlearn_core.jobs import watchdog
from unlearn_core.runs import checkpoints as ck
from unlearn_core.runs import events as ev
from unlearn_core.service.live import LiveRuns
from unlearn_core.system.files import check_complete

pytestmark = pytest.mark.slow

LONG = 100_000


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step, a look of the watchdog every moment."""
    monkeypatch.setattr(ck, "EVERY", 0.0)
    monkeypatch.setattr(ck, "_SHARE", 1e9)
    monkeypatch.setattr(watchdog, "EVERY", 0.02)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("this account may not mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def spec_of(memorised: Any, **changes: Any) -> RunSpec:
    spec: RunSpec = memorised.spec(**{"steps": 3, **changes})
    return spec


def trains(store: RunStore, run_id: str) -> bool:
    return any(isinstance(event, ev.Step) for event in store.read_events(run_id)[0])


def test_a_disk_that_is_really_full_costs_one_run_and_nothing_that_was_kept(memorised: Any, small_disk: Path) -> None:
    store = RunStore(small_disk / "home")
    worker = Worker(store)
    kept = worker.submit(spec_of(memorised))
    assert worker.wait(kept)
    run_id = worker.submit(spec_of(memorised, steps=LONG))
    until(lambda: trains(store, run_id))
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(b"x" * 2**25)
    assert worker.wait(run_id)
    assert worker.alive
    end = LiveRuns(store, worker.ends.of).story(run_id).end  # what a visitor sees before it can be written
    assert isinstance(end, ev.Failed)
    assert end.kind == "disk_full"
    with pytest.raises(ResourceError, match="is full"):
        worker.submit(spec_of(memorised))
    check_complete(store.weights(kept), hashes=True)
    assert {record.id for record in store.list_runs()} == {kept, run_id}
    filler.unlink()
    until(lambda: store.get(run_id).status == "interrupted")
    worker.resume(run_id)  # from where it stood: a full disk takes no checkpoint away
    worker.finish_early(run_id)
    assert worker.wait(run_id)
    assert store.get(run_id).status == "finished"
    again = worker.submit(spec_of(memorised))
    assert worker.wait(again)
    assert store.get(again).verdict == store.get(kept).verdict
    worker.close()


class Disk:
    """Counts what is written, and has no room from one write on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.writes, self.full_from = 0, 10**9
        for owner, name in ((Path, "mkdir"), (Path, "rename"), (Path, "replace"), (os, "fsync")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))
        opened = Path.open

        def open_(path: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if set(mode) & set("wa+x"):
                self._take()
            return opened(path, mode, *rest, **named)

        monkeypatch.setattr(Path, "open", open_)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            self._take()
            return function(*given, **named)

        return counted

    def _take(self) -> None:
        self.writes += 1
        if self.writes >= self.full_from:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_wherever_the_disk_fills_up_the_run_says_so_and_the_next_one_works(
    memorised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RunStore(tmp_path)
    worker = Worker(store)
    first = worker.submit(spec_of(memorised))
    assert worker.wait(first)
    disk = Disk(monkeypatch)
    assert worker.wait(worker.submit(spec_of(memorised)))
    number = disk.writes - 5  # the last few may be of the caches, which a run can do without
    assert number > 30
    for at in range(8, number, number // 4):
        disk.writes, disk.full_from = 0, at  # a submission makes seven
        run_id = worker.submit(spec_of(memorised))
        assert worker.wait(run_id)
        disk.full_from = 10**9
        until(lambda run_id=run_id: store.get(run_id).status in ("interrupted", "finished"))  # type: ignore[misc]
        record = store.get(run_id)
        assert record.status == "interrupted", at
        assert "full" in record.message
        assert store.read_events(run_id)[0][-1].kind == "disk_full"  # type: ignore[union-attr]
        for path in store.folder(run_id).rglob("*.json"):
            json.loads(path.read_text())
        assert not list(store.folder(run_id).rglob(".*")), at
        check_complete(store.weights(first), hashes=True)
    last = worker.submit(spec_of(memorised))
    assert worker.wait(last)
    assert store.get(last).verdict == store.get(first).verdict
    worker.close()


# One pass over long rows, in a process whose allocator holds nothing that earlier work freed.
CHILD = """
import os, resource, sys
from pathlib import Path

import torch

from unlearn_core.data.types import Example, UnlearningData
from unlearn_core.methods import build
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import LoopStep, Warned, unlearn

torch.set_num_threads(1)
target = load_target(sys.argv[1], device="cpu")
rows = tuple(Example(f"a{n}sc1", "It is told:", f"{n} " * 66, "Task1", "completion") for n in range(100, 124))
data = UnlearningData(name="long", forget=rows, retain=())
method = build("grad_ascent", {"batch_size": 24, "learning_rate": 1e-3}, 1)
records = unlearn(target.model, target.tokenizer, data, method, adapter="full", probe_ids=())
if len(sys.argv) > 3:
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[3]), resource.RLIM_INFINITY))
seen = list(records)
assert any(isinstance(record, LoopStep) for record in seen)
torch.save(dict(target.model.named_parameters()), sys.argv[2])
print(*(record.message for record in seen if isinstance(record, Warned)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' limit of address space")
def test_memory_that_really_runs_out_halves_what_runs_at_once(saved_model: Callable[..., str], tmp_path: Path) -> None:
    """The activations of the step are more than the memory there is; those of a part of it fit."""
    import torch

    target, weights = saved_model(intermediate_size=2048), {}
    for limit in ([], [str(96 * 2**20)]):
        kept = tmp_path / f"{len(limit)}.pt"
        command = [sys.executable, "-c", CHILD, target, str(kept), *limit]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert ("Memory ran out" in done.stdout) == bool(limit)
        weights[bool(limit)] = torch.load(kept)
    for name, expected in weights[False].items():
        torch.testing.assert_close(weights[True][name], expected, atol=1e-5, rtol=1e-3)


def test_numbers_that_really_overflow_end_the_run_before_the_step(
    memorised: Any, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """The model's last norm is so large that the gradient leaves float32 while the loss is still in it."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(memorised.model)
    with torch.no_grad():
        model.model.norm.weight *= 1e30
    model.save_pretrained(tmp_path / "model")
    tiny_tokenizer.save_pretrained(tmp_path / "model")
    facts = "facts:Where is Zed? => In Oslo\nWho is Yan? => A cook"
    spec = spec_of(memorised, target=str(tmp_path / "model"), data=facts, method="grad_ascent")
    events = list(run(spec, home=tmp_path, out=tmp_path / "out"))
    end = events[-1]
    assert isinstance(end, ev.Failed)
    assert end.kind == "diverged"
    assert "step 1" in end.message
    assert not any(isinstance(event, ev.Step) for event in events)
    assert not (tmp_path / "out" / "weights").exists()
    assert isinstance(list(run(spec_of(memorised, steps=1), home=tmp_path))[-1], ev.Finished)
