"""Two visitors do anything in any order: neither reads, stops or deletes what is the other's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from unlearn_core.errors import InputError, ResourceError
from unlearn_core.jobs.worker import Worker
from unlearn_core.runs import events as ev
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore

VISITORS = ("token-of-ada", "token-of-bo")
_who = st.sampled_from(VISITORS)


def endless(spec: RunSpec, **options: Any) -> Iterator[ev.Event]:
    yield ev.RunStarted(spec.to_json(), ("unlearn",), 1, "cpu")
    while not options["control"].cancelled:
        yield ev.StageProgress("unlearn", 0, 1)
        time.sleep(0.01)
    yield ev.StageProgress("unlearn", 1, 1)


class Visitors(RuleBasedStateMachine):
    runs = Bundle("runs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = RunStore(Path(self.folder.name))
        self.worker = Worker(self.store, capacity=6, runner=endless)
        self.deleted: set[str] = set()
        self.stopped: set[str] = set()
        self.owners: dict[str, str] = {}
        self.refused_rightly = True

    @rule(target=runs, owner=_who)
    def submit(self, owner: str) -> tuple[str, str]:
        try:
            run_id = self.worker.submit(RunSpec(method="npo"), owner)
        except ResourceError:
            return "x" * 22, owner
        self.owners[run_id] = owner
        return run_id, owner

    @rule(run=runs, who=_who)
    def stop(self, run: tuple[str, str], who: str) -> None:
        run_id, owner = run
        try:
            self.worker.cancel(run_id, who)
        except InputError:
            assert who != owner or run_id in self.deleted or run_id not in self.owners
            return
        assert who == owner
        self.stopped.add(run_id)
        assert self.worker.wait(run_id)
        assert self.store.get(run_id).status == "cancelled"

    @rule(run=runs, who=_who)
    def delete(self, run: tuple[str, str], who: str) -> None:
        run_id, owner = run
        try:
            self.store.delete(run_id, who)
        except InputError as error:
            allowed = who == owner and run_id in self.owners and run_id not in self.deleted
            self.refused_rightly &= not allowed or "still under way" in str(error)
            return
        assert who == owner
        assert run_id in self.stopped
        self.deleted.add(run_id)

    @rule(run=consumes(runs))
    def read(self, run: tuple[str, str]) -> None:
        """Whoever has the link may read; the events never name the owner."""
        run_id, owner = run
        if run_id in self.owners and run_id not in self.deleted:
            text = (self.store.folder(run_id) / "run.json").read_text()
            assert owner not in text
            self.store.read_events(run_id)

    @invariant()
    def nobody_is_refused_what_is_theirs(self) -> None:
        assert self.refused_rightly

    @invariant()
    def lists_are_private_and_complete(self) -> None:
        for who in VISITORS:
            shown = {record.id for record in self.store.list_runs(owner=who)}
            mine = {run_id for run_id, owner in self.owners.items() if owner == who}
            assert shown == mine - self.deleted

    def teardown(self) -> None:
        self.worker.close()
        self.store.close()
        self.folder.cleanup()


TestVisitors = Visitors.TestCase
TestVisitors.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
