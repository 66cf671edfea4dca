"""kill -9 at random moments of real runs, and what is left: `python benchmarks/faults.py [--kills 50]`.

Each run is a process of its own that works as the page's worker does, with a checkpoint after every step.
Half the kills come at a random time, half inside a random write (the n-th file that is opened for writing,
renamed or removed). After each the store must read back whole, runs that were finished must be untouched to
the byte, no half checkpoint or half weights may pass for whole, the run must be marked interrupted, and
resuming it must lead to the scores, verdict and weights of a run that nobody disturbed. Every fifth is
killed a second time while it resumes. Prints one line per kill; exits with 1 if any check fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from unlearn_core.data.sources import load_data
from unlearn_core.data.subset import subset_of, write_directory
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import LetheError
from unlearn_core.runs import events as ev
from unlearn_core.runs.checkpoints import newest_step, whole
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.system.files import check_complete

# What a run imports on its way, so that a child is at its work at once.
PRELOADED = [
    "torch",
    "torch.utils.flop_counter",
    "peft",
    "rouge_score.rouge_scorer",
    "sklearn.metrics",
    "scipy.stats",
    "transformers.models.auto.modeling_auto",
    "transformers.models.auto.tokenization_auto",
    "transformers.models.olmo2.modeling_olmo2",
    "unlearn_core.runs.run",
    "unlearn_core.training.loop",
    "unlearn_core.training.resources.estimate",
    "unlearn_core.evaluation.evaluate",
    "unlearn_core.evaluation.verdict",
    "unlearn_core.evaluation.metrics.answer_traces",
    "unlearn_core.models.targets",
    "unlearn_core.models.inference.likelihood",
]
WRITES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
WAIT = 300.0  # seconds for a child that was not killed


def carry_out(home: str, spec: RunSpec, run_id: str | None, at: int | None, threads: int, told: Connection) -> None:
    """In a child process: begin a run, or resume one, and see it to its end; die in the `at`-th write."""
    import torch

    from unlearn_core.jobs.worker import Worker
    from unlearn_core.runs import checkpoints

    torch.set_num_threads(threads)
    checkpoints.EVERY, checkpoints._SHARE = 0.0, 1e9
    worker, writes = Worker(RunStore(home)), 0

    def strike(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal writes
        if _is_write(event, arguments, home):
            writes += 1
            if writes == at:
                os.kill(os.getpid(), signal.SIGKILL)

    told.send("ready")
    sys.addaudithook(strike)
    if run_id is None:
        run_id = worker.submit(spec)
    else:
        worker.resume(run_id)
    worker.wait(run_id)
    told.send(writes)


def _is_write(event: str, arguments: tuple[Any, ...], home: str) -> bool:
    if event != "open" and event not in WRITES:
        return False
    if event == "open" and not int(arguments[2] or 0) & WRITING:
        return False
    return str(arguments[0]).startswith(home)


@dataclass(frozen=True)
class Kill:
    """When a child dies: `seconds` after it began, or in its `write`-th write."""

    seconds: float | None = None
    write: int | None = None

    def __str__(self) -> str:
        return f"at {self.seconds:.2f} s" if self.seconds is not None else f"in write {self.write}"


class Children:
    """Processes that are forked from one in which the heavy libraries are loaded already."""

    def __init__(self, home: Path, spec: RunSpec, threads: int) -> None:
        self.home, self.spec, self.threads = str(home), spec, threads
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)

    def run(self, run_id: str | None = None, kill: Kill | None = None) -> tuple[int, float]:
        """How many writes an undisturbed child made and in how many seconds; 0 writes for one that died."""
        told, tells = self._context.Pipe(duplex=False)
        at = kill.write if kill else None
        given = (self.home, self.spec, run_id, at, self.threads, tells)
        child = self._context.Process(target=carry_out, args=given)
        child.start()
        tells.close()
        told.recv()
        began = time.perf_counter()
        if kill and kill.seconds is not None:
            child.join(kill.seconds)
            child.kill()
        child.join(WAIT)
        if child.exitcode is None:
            child.kill()
            raise RuntimeError("a run that was not killed did not end")
        seconds = time.perf_counter() - began
        try:
            return int(told.recv()), seconds
        except EOFError:
            return 0, seconds


@dataclass
class Found:
    """What one kill left behind."""

    kill: Kill
    where: str = "before it was there"
    status: str = "-"
    checkpoint: int = 0
    lost_steps: int = 0
    recovery: float = 0.0
    end: str = "-"
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "ok" if not self.wrong else "WRONG: " + "; ".join(self.wrong)
        return (
            f"{self.kill!s:<14}{self.where:<28}{self.status:<13}{self.checkpoint:>10}{self.lost_steps:>7}"
            f"{self.recovery * 1000:>9.0f} ms  {self.end:<18}{verdict}"
        )


HEAD = f"{'killed':<14}{'while':<28}{'then':<13}{'checkpoint':>10}{'lost':>7}{'recovery':>12}  {'at last':<18}checks"


class Trial:
    """One home, one spec, its undisturbed result, and any number of kills."""

    def __init__(self, home: Path, spec: RunSpec, threads: int = 1) -> None:
        self.home, self.children = home, Children(home, spec, threads)
        self.children.run()  # fills the score cache, as a server has it
        self.writes, self.seconds = self.children.run()
        store = RunStore(home)
        self.reference = store.list_runs()[0].id
        self.expected = result(store, self.reference)
        self.untouched = digest(home / "runs")
        store.close()

    def strike(self, kill: Kill, again: Kill | None) -> Found:
        """Kill a new run, look at what is left, resume it, and look again."""
        found = Found(kill)
        self.children.run(kill=kill)
        run_id = self._look(found)
        if run_id is not None and again is not None and found.status == "interrupted":
            self.children.run(run_id, again)
            found.kill = kill
            self._look(found)
            found.where += ", again"
        if run_id is not None:
            self._resume(run_id, found)
        return found

    def _look(self, found: Found) -> str | None:
        """The checks on a store whose writer was killed; the run's id, None where it had not begun."""
        raw = {path.parent.name for path in self.home.glob("runs/*/run.json")}
        found.wrong += broken_records(self.home)
        found.wrong += half_folders(self.home)
        store = RunStore(self.home)
        began = time.perf_counter()
        store.recover()
        found.recovery = max(found.recovery, time.perf_counter() - began)
        records = {record.id: record for record in store.list_runs(limit=10_000)}
        if set(records) != raw:
            found.wrong.append("a run is lost")
        changed = self.untouched.items() - digest(self.home / "runs").items()
        if changed:
            found.wrong.append("a finished run changed")
        found.wrong += half_folders(self.home, debris=True)
        new = next((record for record in records.values() if record.id not in self._known), None)
        if new is not None:
            found.status = new.status
            found.where, step = where(store, new.id)
            found.checkpoint = newest_step(store.checkpoints(new.id))
            found.lost_steps = max(0, step - found.checkpoint) if new.status == "interrupted" else 0
            if new.status not in ("interrupted", "finished"):
                found.wrong.append(f"marked {new.status}")
        store.close()
        return new.id if new is not None else None

    def _resume(self, run_id: str, found: Found) -> None:
        if found.status == "interrupted":
            self.children.run(run_id)
        store = RunStore(self.home)
        record = store.get(run_id)
        found.end = record.status
        if record.status != "finished":
            found.wrong.append(record.message or "not finished")
        elif result(store, run_id) != self.expected:
            found.wrong.append("other scores than undisturbed")
        else:
            found.end = "the same scores"
        store.close()
        self.untouched = digest(self.home / "runs")

    @property
    def _known(self) -> set[str]:
        return {name.split("/")[0] for name in self.untouched}


def result(store: RunStore, run_id: str) -> dict[str, Any]:
    """Scores, verdict and weights of a finished run, without what tells of the machine."""
    record = store.get(run_id)
    aside = {"seconds": None, "details": None}
    scores = {model: {**values, **aside} for model, values in record.scores.items()}
    marker = check_complete(store.weights(run_id), hashes=True)
    return {"scores": scores, "verdict": record.verdict, "weights": marker["weights_hash"]}


def where(store: RunStore, run_id: str) -> tuple[str, int]:
    """The stage and step that the events of a run end in, and its last step."""
    state = store.state(run_id)
    stage = state.stage or "queued"
    return (f"{stage}, step {state.step}" if stage == "unlearn" else stage), state.step


def digest(folder: Path) -> dict[str, str]:
    """Every file below a folder with the hash of what it holds."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def broken_records(home: Path) -> Iterator[str]:
    """Records that do not read back: JSON files, whole lines of events, the index."""
    for path in home.glob("runs/*/*.json"):
        if not path.name.startswith("."):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError:
                yield f"half a {path.name}"
    for path in home.glob("runs/*/events.jsonl"):
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last line end is torn, and known to be
        if not all(_is_event(line) for line in lines if line):
            yield "an event that does not read"
    for index in home.glob("cache/index.sqlite"):
        with sqlite3.connect(index) as connection:
            if connection.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                yield "a corrupt index"
        connection.close()


def _is_event(line: bytes) -> bool:
    try:
        ev.from_json(json.loads(line))
    except (ValueError, KeyError, TypeError):
        return False
    return True


def half_folders(home: Path, debris: bool = False) -> Iterator[str]:
    """Checkpoints and weights that look whole and are not; with `debris`, halves that nobody cleared away."""
    for run in (home / "runs").glob("[!.]*"):
        for folder in [*whole(run / "checkpoints"), *run.glob("weights")]:
            try:
                check_complete(folder, hashes=True)
            except LetheError:
                yield f"half a {folder.relative_to(run)}"
        if debris and any(path.name.startswith(".") for path in run.rglob("*")):
            yield f"halves left lying about: {[p.name for p in run.rglob('.*')]}"


def small_world() -> UnlearningData:
    """Six documents of the bundled world with few questions, so that 50 runs take minutes."""
    data = subset_of(load_data("demo"), 1)
    return replace(data, questions=data.questions[:12], general=data.general[:12], nonmembers=data.nonmembers[:6])


def kills(trial: Trial, number: int, rng: random.Random) -> Iterator[tuple[Kill, Kill | None]]:
    """Random moments, by time and by write in turn, and every fifth a second time."""
    for i in range(number):
        by_time = Kill(seconds=rng.uniform(0.0, trial.seconds))
        by_write = Kill(write=rng.randint(1, trial.writes))
        again = Kill(seconds=rng.uniform(0.0, trial.seconds / 2)) if i % 5 == 4 else None
        yield (by_time if i % 2 else by_write), again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--target", default="demo")
    parser.add_argument("--data", help="default: six documents of the bundled world")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1, help="that each run computes with")
    options = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        data = options.data or str(Path(folder) / "data")
        if options.data is None:
            write_directory(small_world(), Path(data))
        settings = {"learning_rate": 1e-3}
        spec = RunSpec(method="grad_diff", settings=settings, steps=options.steps, target=options.target, data=data)
        trial = Trial(Path(folder) / "home", spec, options.threads)
        sizes = f"{trial.seconds:.1f} s, {trial.writes} writes, {options.steps} steps"
        print(f"Undisturbed: {sizes}.\n\n{HEAD}", flush=True)
        found = []
        for kill, again in kills(trial, options.kills, random.Random(options.seed)):
            found.append(trial.strike(kill, again))
            print(found[-1], flush=True)
    return _sum_up(found, time.perf_counter() - began)


def _sum_up(found: list[Found], seconds: float) -> int:
    wrong = sum(bool(one.wrong) for one in found)
    told = ", ".join(f"{number} {status}" for status, number in Counter(one.status for one in found).items())
    print(
        f"\n{len(found)} kills in {seconds:.0f} s: {told.replace('-', 'before it was there')}."
        f" Most steps lost {max(one.lost_steps for one in found)}, slowest recovery"
        f" {max(one.recovery for one in found) * 1000:.0f} ms. Failed checks: {wrong}."
    )
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
