"""Strangers on one public server: `python benchmarks/strangers.py [--steps 10000] [--crowd 20]`.

First a crowd presses Start at once: one run may be at work, the queue takes what it has room for, the rest
are told so, and no run is lost or there twice. Then two visitors start, read, stop, rename, attack, list and
delete runs, their own and each other's, in random order over HTTP, against a record of whose each run is:
nothing of another's may be listed, changed or stopped, a run that is there and not yours must look like one
that is not there, and nobody may be refused what is theirs. Exits with 1 on any finding.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app_server import OVER, Api, served
from fuzz import faults

UNKNOWN = "x" * 22
NOT_YOURS = "here for you"  # how a run that is not there, or another's, is refused
QUEUE = 16  # runs that may wait


def crowd(api: Api, number: int) -> list[str]:
    """Everybody presses Start in the same moment; what is wrong about it."""
    owners = [f"one of the crowd {n:04}" for n in range(number)]
    with ThreadPoolExecutor(number) as together:
        answers = list(together.map(api.start, owners, range(number)))
    runs = [told["run_id"] for told, _ in answers if told]
    refused = [words for told, words in answers if not told]
    wrong = [f"refused without words: {words}" for words in refused if "queue (" not in words]
    wrong += ["a run is there twice"] * (len(set(runs)) != len(runs))
    wrong += ["the queue took too little or too much"] * (len(runs) not in (QUEUE, QUEUE + 1, number))
    left, most, end = set(runs), 0, time.monotonic() + 600
    while left and time.monotonic() < end:
        states = {run: api.status(run) for run in left}
        most = max(most, sum(state == "running" for state in states.values()))
        left -= {run for run, state in states.items() if state in OVER}
        time.sleep(0.3)
    ends = Counter(api.status(run) for run in runs)
    wrong += ["two runs were at work at once"] * (most > 1)
    wrong += ["a run was lost"] * (ends["finished"] != len(runs))
    told = ", ".join(f"{count} {state}" for state, count in ends.items())
    rest = f"{len(refused)} told that the queue is full; at most {most} at work at a time"
    print(f"{number} press Start at once: {len(runs)} taken ({told}), {rest}", flush=True)
    return wrong


@dataclass
class Model:
    """Whose each run is, as the visitors know it."""

    owners: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def mine(self, who: str) -> set[str]:
        return {run for run, owner in self.owners.items() if owner == who} - self.gone


class Visitors:
    """Two visitors and what they do; `wrong` collects what must not be."""

    def __init__(self, api: Api, rng: random.Random) -> None:
        self.api, self.rng, self.model = api, rng, Model()
        self.names = ("the secret of visitor Ada", "the secret of visitor Bo")
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []

    def step(self) -> None:
        """One thing that one of them does."""
        who = self.rng.choice(self.names)
        acts: list[Callable[[str], None]] = [self.start, self.read, self.listed, *[self.change] * 5]
        if self.rng.random() < 0.004:
            acts = [self.leave]
        self.rng.choice(acts)(who)

    def start(self, who: str) -> None:
        told, refused = self.api.start(who, self.rng.randrange(10**6))
        if told:
            self.model.owners[told["run_id"]] = who
        elif "under way" not in refused:
            self.wrong.append(f"a start was refused: {refused}")
        self.done["start" if told else "start while one is under way"] += 1

    def read(self, who: str) -> None:
        """Whoever has the link may read, and learns no secret."""
        run = self._some_run()
        for name, given in (("run_status", {"since": 0}), ("scores", {}), ("audit_results", {})):
            told, refused = self.api(name, run_id=run, **given)
            there = run in self.model.owners and run not in self.model.gone
            if bool(told) != there or (refused and NOT_YOURS not in refused):
                self.wrong.append(f"{name} of a run that is {'' if there else 'not '}there: {refused}")
            if any(secret in str(told) + refused for secret in self.names):
                self.wrong.append(f"{name} tells a secret")
        self.done["read by link"] += 1

    def listed(self, who: str) -> None:
        told, _ = self.api("list_runs", owner=who, limit=1000, offset=0)
        if {row["id"] for row in told["runs"] if not row["id"].startswith("recorded-")} != self.model.mine(who):
            self.wrong.append("a list is not one's own runs")
        self.done["list"] += 1

    def change(self, who: str) -> None:
        """Something that only the owner may do."""
        run, name = self._some_run(), self.rng.choice(sorted(CHANGES))
        told, refused = self.api(name, run_id=run, owner=who, **CHANGES[name])
        if run in self.model.mine(who):
            if NOT_YOURS in refused:
                self.wrong.append(f"{name} of one's own run was refused: {refused}")
            if name == "delete_run" and told:
                self.model.gone.add(run)
            self.done[f"{name}, own"] += 1
            return
        _, unknown = self.api(name, run_id=UNKNOWN, owner=who, **CHANGES[name])
        if told or refused.replace(run, "") != unknown.replace(UNKNOWN, ""):
            self.wrong.append(f"{name} of another's run: {told or refused!r}, of an unknown one: {unknown!r}")
        self.done[f"{name}, another's or gone"] += 1

    def leave(self, who: str) -> None:
        """Delete everything of one's own, and nothing else."""
        told, refused = self.api("delete_my_data", owner=who)
        if refused or told["runs"] != len(self.model.mine(who)):
            self.wrong.append(f"deleted {told}, not {len(self.model.mine(who))}: {refused}")
        self.model.gone |= self.model.mine(who)
        self.done["delete everything of mine"] += 1

    def _some_run(self) -> str:
        known = list(self.model.owners)[-12:]
        return self.rng.choice([*known, UNKNOWN])


CHANGES: dict[str, dict[str, Any]] = {
    "stop_run": {},
    "finish_run": {"best": False},
    "resume_run": {},
    "rename_run": {"name": "mine"},
    "tag_run": {"tags": ["mine"]},
    "delete_run": {},
    "stop_audits": {},
    "start_audits": {"audits": ["nothing"], "budget_seconds": 1.0},
    "save_probe": {"prompt": "Where is Ada?", "answer": "Oldport"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--crowd", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lethe-strangers-") as name:
        with served(Path(name)) as (address, _):
            api = Api(address)
            wrong = crowd(api, options.crowd)
            visitors, began = Visitors(api, random.Random(options.seed)), time.perf_counter()
            for _ in range(options.steps):
                visitors.step()
        took = time.perf_counter() - began
        wrong += visitors.wrong + [f"log: {fault}" for fault in faults(Path(name) / "home" / "log")]
    for what, number in sorted(visitors.done.items()):
        print(f"  {what:<40}{number:>7}")
    print(f"{options.steps:,} steps of two visitors in {took:.0f} s: {len(wrong)} findings")
    for finding in wrong[:50]:
        print("FINDING", finding)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
