"""What the page works on: the store, the worker, the runs being watched, and models kept for questions.

No Gradio in here, so that what the page does can be tested without a browser.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core import limits
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.jobs import sweep as sweeps
from unlearn_core.jobs import zerogpu
from unlearn_core.jobs.child_process import ChildProcess
from unlearn_core.jobs.deletion import Deleter
from unlearn_core.jobs.expiry import Deleted
from unlearn_core.jobs.worker import GRACE, Worker
from unlearn_core.report.kit.format import shorten
from unlearn_core.report.run.run_header import RunTitle
from unlearn_core.runs.spec import RunSpec
from unlearn_core.service.answers import GREEDY, Answerer, ModelLocation, Sampling, original
from unlearn_core.service.choices import Choices
from unlearn_core.service.downloads import Downloads
from unlearn_core.service.games import Games
from unlearn_core.service.live import LiveRuns, LiveView
from unlearn_core.service.quotas import Quotas
from unlearn_core.service.titles import Titles, id_mark
from unlearn_core.service.visitor_data import VisitorData
from unlearn_core.store.store import RunRecord, RunStore, owner_hash
from unlearn_core.store.table.rows import RunQuery

if TYPE_CHECKING:
    from unlearn_core.evaluation.progress import Progress
    from unlearn_core.evaluation.scores import Scores

DOUBLE_CLICK = 1.0  # seconds
MAX_ATTACKABLE = 100  # runs offered to be asked, attacked or recovered
Visitor = Callable[[], tuple[str, str]]


class Studio:
    """One per server. `public` is for strangers: models on this machine, their own files only, within `limits`;
    `visitor` tells who is asking, as a page and an address. `apart` carries out runs in a process of their
    own, so that no viewer waits for a training step."""

    def __init__(
        self,
        home: str | Path | None = None,
        public: bool = False,
        visitor: Visitor = lambda: ("", ""),
        apart: bool = False,
    ) -> None:
        self.public, self.visitor = public, visitor
        self.quotas = Quotas()
        self._of_address: dict[str, list[str]] = {}
        self.store = RunStore(home, shared=public, open_to_all=not public)
        self.worker = Worker(
            self.store,
            public=public,
            per_owner=limits.RUNS_AT_A_TIME if public else None,
            apart=ChildProcess(self.store.home, words=not public) if apart and not zerogpu.available() else None,
            runner=zerogpu.run_on_gpu if zerogpu.available() else None,
            lent=zerogpu.available(),
        )
        self.deleter = Deleter(self.store, self.worker)
        self.live = LiveRuns(self.store, self.worker.ends.of)
        self.answers = Answerer(self.store, public)
        self.parcels = Downloads(public)
        self.games = Games()
        self.choices = Choices(self)
        self.data = VisitorData(self)
        self._importing = threading.Lock()

    def close(self) -> None:
        """Keep where the run at work stands, and leave nothing behind. Where more time is given than the ten
        seconds that are usual before a kill, LETHE_GRACE_SECONDS says how many of them the run may take."""
        given = os.environ.get("LETHE_GRACE_SECONDS", "")
        self.deleter.close()
        self.worker.close(float(given) if given.isdigit() else GRACE)
        self.parcels.close()

    def warm_up(self) -> None:
        """Import the heavy libraries. Two threads that import them at once can break each other's imports,
        so whatever needs them calls this first; it costs nothing from the second time on."""
        with self._importing:
            from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: F401

            from unlearn_core.methods import REGISTRY  # noqa: F401
            from unlearn_core.runs.run import run  # noqa: F401
            from unlearn_core.training.loop import unlearn  # noqa: F401

    # Runs ---------------------------------------------------------------------------------------------

    def spend(self, kind: str, amount: int = 1) -> None:
        """Count what a stranger takes (see `limits.ALLOWANCES`). ResourceError where it is used up."""
        if self.public:
            self.quotas.take(kind, *self.visitor(), amount)

    def submit(self, spec: RunSpec, owner: str, key: str = "", shown: str = "") -> str:
        """Queue a run; its id. The same `key` of the same owner is the same run, and so is the run `shown`
        where it is theirs, is what `spec` asks for and was begun a moment ago: the second half of a double
        click."""
        known = self.worker.submitted(owner, key) or self._just_begun(shown, spec, owner)
        if known is not None:
            return known
        self.store.check_uploads(owner, spec.data, spec.retain_data)
        _, address = self.visitor()
        under_way = [run for run in self._of_address.get(address, ()) if self._is_open(run)]
        if self.public and address and len(under_way) >= limits.RUNS_OF_AN_ADDRESS:
            problem = "from your network are waiting or running"
            mend = "Wait until one of them is over."
            raise ResourceError("runs", len(under_way), problem, mend, ("tab", "runs"))
        left = self.worker.capacity - self.worker.num_waiting
        if self.public and under_way and left <= limits.PLACES_KEPT:
            problem = "are left, for visitors who have none yet"
            raise ResourceError("queue", f"{left} places", problem, "Wait until your own run is over.")
        self.spend("run")
        run = str(self.worker.submit(spec, owner, key or None))
        others = {a: runs for a, runs in self._of_address.items() if any(map(self._is_open, runs))}
        self._of_address = {**others, address: [*under_way, run]}
        return run

    def _just_begun(self, run_id: str, spec: RunSpec, owner: str) -> str | None:
        if not run_id:
            return None
        record = self.store.get(run_id)
        if not record.owner or record.owner != owner_hash(owner):
            return None
        recent = 0 <= time.time() - record.created < DOUBLE_CLICK  # not where the clock was set back since
        return run_id if recent and RunSpec.from_json(record.spec) == spec else None

    def _is_open(self, run_id: str) -> bool:
        return self.worker.position(run_id) is not None

    def sweep(self, specs: Sequence[RunSpec], owner: str | None) -> str:
        """Queue the runs of a sweep; their tag."""
        if self.public:
            mend = "Start one run at a time, or use your own installation."
            raise InputError("sweep", len(specs), "runs are not queued for a stranger", mend)
        return sweeps.start(self.worker, specs, owner)

    def attack(self, run_id: str, budget_seconds: float | None, names: Sequence[str] | None, owner: str) -> None:
        """Queue audits of a run for its owner."""
        if self.public and (budget_seconds is None or budget_seconds > limits.AUDIT_SECONDS):
            mend = f"Use at most {limits.AUDIT_SECONDS} s here."
            raise InputError("budget_seconds", budget_seconds, "is too much time", mend)
        self.store.owned(run_id, owner or None)
        self.spend("audit")
        self.worker.submit_audits(run_id, budget_seconds, names, owner)

    def attackable(self, owner: str, limit: int = MAX_ATTACKABLE) -> list[RunRecord]:
        """The newest finished runs with kept weights; on a public server the visitor's own and the recorded ones."""
        mine = owner if self.public else None
        records = self.store.list_runs(owner=mine, status="finished", limit=limit, house=True)
        return [record for record in records if record.artifact]

    def questioned(self, run_id: str, owner: str) -> RunRecord:
        """The record, if this visitor may put questions to its unlearned model alone: a run of theirs, or recorded."""
        record = self.store.get(run_id)
        return record if record.is_recorded else self.store.owned(run_id, owner or None)

    def may_resume(self, run_id: str, owner: str) -> bool:
        """Whether the run was interrupted and this visitor started it."""
        return self.may_stop(run_id, owner) and self.store.get(run_id).status == "interrupted"

    def may_stop(self, run_id: str, owner: str) -> bool:
        """Whether this visitor started the run."""
        try:
            self.store.owned(run_id, owner or None)
        except LetheError:
            return False
        return True

    def titles(self) -> Titles:
        """What methods and target models are called."""
        methods = {str(method["name"]): str(method["title"]) for method in self.choices.described()}
        return Titles(methods, {name: title for title, name in self.choices.targets()})

    def run_choices(self, records: Sequence[RunRecord]) -> list[tuple[str, str]]:
        """Runs by name, to choose one from."""
        titles = self.titles()
        named = [(shorten(titles.record(r).name, 40), shorten(titles.about(r), 30), r.id) for r in records]
        return [(f"{name} on {about} ({id_mark(run_id)})", run_id) for name, about, run_id in named]

    def mine(self, owner: str) -> str | None:
        """What limits listings to one visitor: their hash on a shared server, None on one's own machine."""
        return owner_hash(owner) if self.public else None

    def position(self, run_id: str) -> int:
        """How many runs are ahead of this one; 0 for one at work or over."""
        return self.worker.position(run_id) or 0

    def view(self, run_id: str) -> LiveView:
        """What a page shows of a run now."""
        return self.live.view(run_id, self.position(run_id), self.worker.seconds_until(run_id))

    def title_of(self, run_id: str, owner: str) -> RunTitle:
        """What the run is called, to whoever knows the secret `owner`."""
        record, titles = self.store.get(run_id), self.titles()
        spec = record.spec
        return RunTitle(
            titles.method(spec.get("method")),
            titles.target(spec.get("target")),
            shorten(titles.about(record), 40),
            int(spec.get("seed") or 0),
            record.created,
            "recorded" if record.is_recorded else "yours" if self.may_stop(run_id, owner) else "somebody else's",
        )

    def beside(self, run_id: str, owner: str) -> list[str]:
        """The run and the newest other finished one that its scores can be compared with, where there is one."""
        found, _ = self.store.rows(RunQuery(ids=(run_id,)))
        if not found:
            return [run_id]
        query = RunQuery(ground=found[0].ground, status="finished", owner=self.mine(owner), limit=2)
        others = [row.id for row in self.store.rows(query)[0] if row.id != run_id]
        return [run_id, *others[:1]]

    def delete_mine(self, owner: str) -> Deleted:
        """Stop and delete every run of whoever knows this secret, and delete their uploads and their game; at once,
        but for what still has to stop."""
        self.spend("delete")
        self.games.drop(owner)
        return self.deleter.delete(owner)

    # Handing over -------------------------------------------------------------------------------------

    def report(self, run_id: str, form: str = "html") -> Path:
        """A file with the run's report, "html" or "json", or its result page for a static host, "site", for one
        download."""
        self.warm_up()
        from unlearn_core.report.export.hub_export import write_report, write_site

        self.spend("look")
        if form not in ("html", "json", "site"):
            raise InputError("form", form, "is no form of a report", "Use html, json or site.")
        if form == "site":
            return write_site(self.store, run_id, self.parcels.folder())
        html, plain = write_report(self.store, run_id, self.parcels.folder())
        return html if form == "html" else plain

    def certificate(self, run_id: str, request: str = "", responsible: str = "", show: bool = False) -> Path:
        """The run's erasure certificate as a file for one download; answers and names are masked unless `show`."""
        self.warm_up()
        from unlearn_core.report.export.certificate import Request
        from unlearn_core.report.export.hub_export import write_certificate

        self.spend("look")
        return write_certificate(self.store, run_id, self.parcels.folder(), Request(request, responsible, show))

    def picture(self, run_id: str, owner: str = "") -> Path:
        """The run's fade as a moving picture (SVG), for one download."""
        from unlearn_core.report.export.picture import moving_picture

        self.spend("look")
        title = self.title_of(run_id, owner)
        words = f"{title.method} on {title.model}"
        out = self.parcels.folder() / f"lethe_fade_{run_id[:8]}.svg"
        out.write_text(moving_picture(self.live.story(run_id), words), encoding="utf-8")
        return out

    def export(self, run_id: str, kind: str = "weights") -> Path:
        """A zip of the run's weights or adapter with model card and report, for one download."""
        self.warm_up()
        from unlearn_core.report.export.hub_export import export_zip

        self.spend("look")
        return export_zip(self.store, run_id, self.parcels.folder(), kind)

    def push(self, run_id: str, repo: str, kind: str, owner: str, private: bool = True) -> str:
        """Upload a run of this visitor with the token of this machine; its address on the Hub."""
        if self.public:
            raise InputError("hub", repo, "is not written by a public server", "Export a zip instead.")
        self.store.owned(run_id, owner or None)
        self.warm_up()
        from unlearn_core.report.export.hub_export import push_run

        return push_run(self.store, run_id, repo, kind=kind, private=private)

    # Questions ----------------------------------------------------------------------------------------

    def ask(self, run_id: str, target: str, prompt: str, sampling: Sampling = GREEDY) -> Iterator[dict[str, str]]:
        """The growing answers of the run's models, or of the target alone (see `Answerer.ask`)."""
        self.warm_up()
        self.spend("question")
        return self.answers.ask(run_id, target, prompt, sampling)

    def ask_runs(self, ids: Sequence[str], prompt: str, sampling: Sampling = GREEDY) -> Iterator[dict[str, str]]:
        """The growing answers of the original and of two to four runs from their kept weights, by run id."""
        from unlearn_core.store.table.compare import MAX_COMPARED

        chosen = list(dict.fromkeys(ids))
        if not 1 <= len(chosen) <= MAX_COMPARED:
            raise InputError("runs", len(chosen), "cannot be asked", f"Choose 1 to {MAX_COMPARED} runs.")
        targets = list(dict.fromkeys(str(self.store.get(run_id).spec["target"]) for run_id in chosen))
        if len(targets) > 1:
            raise InputError("runs", len(targets), "have different targets", "Choose runs of one model.")
        self.warm_up()
        self.spend("question")
        formats = {run_id: str(self.store.get(run_id).spec.get("prompt", "raw")) for run_id in chosen}
        kept = {run_id: ModelLocation(str(self.store.weights(run_id)), True, formats[run_id]) for run_id in chosen}
        before = original(targets[0], formats[chosen[0]], kept[chosen[0]].ref)
        return self.answers.ask_places({"original": before} | kept, prompt, sampling)

    def ask_unlearned(
        self, run_id: str, prompt: str, turns: Sequence[tuple[str, str]], begun: str, sampling: Sampling
    ) -> Iterator[str]:
        """The growing answer of a run's kept weights alone; `turns` came before, and it goes on from `begun`."""
        self.warm_up()
        self.spend("question")
        kept = {"unlearned": self.answers.unlearned(run_id)}
        answers = self.answers.ask_places(kept, prompt, sampling, turns={"unlearned": turns}, begun=begun)
        return (said["unlearned"] for said in answers)

    def score_wiped(self, run_id: str) -> Generator[Progress, None, Scores]:
        """Score a copy of the run's target with random weights on its data: the floor of a comparison."""
        if self.public:
            raise InputError("run", run_id, "has no wiped model here", "Use your own installation.")
        self.warm_up()
        from unlearn_core.store.references import score_wiped_of

        return score_wiped_of(self.store, run_id)
