"""What the page works on: the store, the worker, the runs being watched, and models kept for questions.

No Gradio in here, so that what the page does can be tested without a browser.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core import limits
from unlearn_core.errors import InputError, LetheError, ResourceError
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.runs import sweep as sweeps
from unlearn_core.runs import zerogpu
from unlearn_core.runs.apart import Apart
from unlearn_core.runs.expiry import Gone, delete_everything_of
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.store import RunStore, owner_hash
from unlearn_core.runs.worker import GRACE, Worker
from unlearn_core.ui.answers import Answerer, Place
from unlearn_core.ui.live import Live, View
from unlearn_core.ui.parcels import Parcels
from unlearn_core.ui.quotas import Quotas

if TYPE_CHECKING:
    from unlearn_core.evaluation.progress import Progress
    from unlearn_core.evaluation.scores import Scores
    from unlearn_core.runs.plan import Planner

DOUBLE_CLICK = 1.0  # seconds
NUM_KNOWN = 3  # facts shown before the first run
Visitor = Callable[[], tuple[str, str]]


class Studio:
    """One per server. `public` is for strangers: bundled model only, their own files only, within `limits`;
    `visitor` tells who is asking, as a page and an address. `apart` carries out runs in a process of their
    own, so that no viewer waits for a training step."""

    def __init__(
        self, home: str | Path | None = None, public: bool = False, visitor: Visitor = lambda: ("", ""),
        apart: bool = False,
    ) -> None:  # fmt: skip
        self.public, self.visitor = public, visitor
        self.quotas = Quotas()
        self._of_address: dict[str, list[str]] = {}
        self.store = RunStore(home, shared=public)
        self.worker = Worker(
            self.store, public=public, per_owner=limits.RUNS_AT_A_TIME if public else None,
            apart=Apart(self.store.home, words=not public) if apart and not zerogpu.available() else None,
            runner=zerogpu.run_on_gpu if zerogpu.available() else None, lent=zerogpu.available(),
        )  # fmt: skip
        self.live = Live(self.store, self.worker.ends.of)
        self.answers = Answerer(self.store, public)
        self.parcels = Parcels()
        self._known: dict[str, Safe] = {}
        self._importing = threading.Lock()

    def close(self) -> None:
        """Keep where the run at work stands, and leave nothing behind. Where more time is given than the ten
        seconds that are usual before a kill, LETHE_GRACE_SECONDS says how many of them the run may take."""
        given = os.environ.get("LETHE_GRACE_SECONDS", "")
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

    # Choices ------------------------------------------------------------------------------------------

    def targets(self) -> list[tuple[str, str]]:
        """Target models offered by name."""
        self.warm_up()
        from unlearn_core.models.targets import offered

        return [(info.title, info.name) for info in offered(self.public)]

    def methods(self) -> list[tuple[str, str]]:
        """Methods offered, by title."""
        self.warm_up()
        from unlearn_core.methods import REGISTRY

        return [(cls.info.title, name) for name, cls in REGISTRY.items()]

    def described(self) -> list[dict[str, Any]]:
        """Every method's declaration."""
        self.warm_up()
        from unlearn_core.methods import REGISTRY, describe

        return [describe(cls) for cls in REGISTRY.values()]

    def audits(self) -> list[dict[str, Any]]:
        """The attacks offered, by their declarations."""
        self.warm_up()
        from unlearn_core.evaluation.audits import describe

        return describe()

    def audit_titles(self) -> dict[str, str]:
        """Titles of the attacks by name, in their order."""
        return {audit["name"]: audit["title"] for audit in self.audits()}

    def spec(
        self, target: str, data: str, method: str, settings: dict[str, Any],
        brought: dict[str, Any] | None = None, seed: float = 0, adapter: str = "auto",
    ) -> RunSpec:  # fmt: skip
        """The run that a filled-in form asks for. Raises InputError naming the field that cannot be.

        `brought` is what was chosen beside `data` when it was checked: retain set, columns, MMLU. It counts
        only while that data is still the one chosen.
        """
        self.warm_up()
        from unlearn_core.methods import build

        if seed is None or seed != int(seed):
            raise InputError("seed", seed, "is not a whole number", "Use a whole number, for example 0.")
        rest = {key: value for key, value in settings.items() if key != "steps"}
        build(method, rest, settings.get("steps"))
        beside = brought if brought and brought.get("data") == data else {}
        return RunSpec(
            target=target or "", data=data or "", method=method, settings=rest, steps=settings.get("steps"),
            seed=int(seed), adapter=None if adapter == "auto" else adapter,
            retain_data=beside.get("retain_data") or None, columns=beside.get("columns") or {},
            mmlu=beside.get("mmlu") or None,
        )  # fmt: skip

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
        _, address = self.visitor()
        under_way = [run for run in self._of_address.get(address, ()) if self._is_open(run)]
        if self.public and address and len(under_way) >= limits.RUNS_OF_AN_ADDRESS:
            problem = "from your network are waiting or running"
            raise ResourceError("runs", len(under_way), problem, "Wait until one of them is over.")
        self.spend("run")
        run = str(self.worker.submit(spec, owner, key or None))
        others = {a: runs for a, runs in self._of_address.items() if any(map(self._is_open, runs))}
        self._of_address = {**others, address: [*under_way, run]}
        return run

    def _just_begun(self, run_id: str, spec: RunSpec, owner: str) -> str | None:
        if not run_id or not self.may_stop(run_id, owner):
            return None
        record = self.store.get(run_id)
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

    def attack(
        self, run_id: str, budget_seconds: float | None, names: Sequence[str] | None, owner: str
    ) -> None:
        """Queue audits of a run for its owner."""
        if self.public and (budget_seconds is None or budget_seconds > limits.AUDIT_SECONDS):
            mend = f"Use at most {limits.AUDIT_SECONDS} s here."
            raise InputError("budget_seconds", budget_seconds, "is too much time", mend)
        self.store.owned(run_id, owner or None)
        self.spend("audit")
        self.worker.submit_audits(run_id, budget_seconds, names, owner)

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

    def mine(self, owner: str) -> str | None:
        """What limits listings to one visitor: their hash on a shared server, None on one's own machine."""
        return owner_hash(owner) if self.public else None

    def position(self, run_id: str) -> int:
        """How many runs are ahead of this one; 0 for one at work or over."""
        return self.worker.position(run_id) or 0

    def view(self, run_id: str) -> View:
        """What a page shows of a run now."""
        return self.live.view(run_id, self.position(run_id), self.worker.seconds_until(run_id))

    def delete_mine(self, owner: str) -> Gone:
        """Stop and delete every run of whoever knows this secret, and delete their uploads."""
        return delete_everything_of(owner, self.store, self.worker)

    # Handing over -------------------------------------------------------------------------------------

    def report(self, run_id: str, form: str = "html") -> Path:
        """A file with the run's report, "html" or "json", for one download."""
        self.warm_up()
        from unlearn_core.report.export import write_report

        self.spend("look")
        if form not in ("html", "json"):
            raise InputError("form", form, "is no form of a report", "Use html or json.")
        html, plain = write_report(self.store, run_id, self.parcels.folder())
        return html if form == "html" else plain

    def export(self, run_id: str, kind: str = "weights") -> Path:
        """A zip of the run's weights or adapter with model card and report, for one download."""
        self.warm_up()
        from unlearn_core.report.export import export_zip

        self.spend("look")
        return export_zip(self.store, run_id, self.parcels.folder(), kind)

    def push(self, run_id: str, repo: str, kind: str, owner: str, private: bool = True) -> str:
        """Upload a run of this visitor with the token of this machine; its address on the Hub."""
        if self.public:
            raise InputError("hub", repo, "is not written by a public server", "Export a zip instead.")
        self.store.owned(run_id, owner or None)
        self.warm_up()
        from unlearn_core.report.export import push_run

        return push_run(self.store, run_id, repo, kind=kind, private=private)

    # Questions ----------------------------------------------------------------------------------------

    def ask(self, run_id: str, target: str, prompt: str, **sampling: Any) -> Iterator[dict[str, str]]:
        """The growing answers of the run's models, or of the target alone (see `Answerer.ask`)."""
        self.warm_up()
        self.spend("question")
        return self.answers.ask(run_id, target, prompt, **sampling)

    def ask_runs(self, ids: Sequence[str], prompt: str, **sampling: Any) -> Iterator[dict[str, str]]:
        """The growing answers of the original and of two to four runs from their kept weights, by run id."""
        from unlearn_core.runs.compare import MAX_COMPARED

        chosen = list(dict.fromkeys(ids))
        if not 1 <= len(chosen) <= MAX_COMPARED:
            raise InputError("runs", len(chosen), "cannot be asked", f"Choose 1 to {MAX_COMPARED} runs.")
        targets = list(dict.fromkeys(str(self.store.get(run_id).spec["target"]) for run_id in chosen))
        if len(targets) > 1:
            raise InputError("runs", len(targets), "have different targets", "Choose runs of one model.")
        self.warm_up()
        self.spend("question")
        kept = {run_id: Place(str(self.store.weights(run_id)), ours=True) for run_id in chosen}
        return self.answers.ask_places({"original": Place(targets[0])} | kept, prompt, **sampling)

    def score_wiped(self, run_id: str) -> Generator[Progress, None, Scores]:
        """Score a copy of the run's target with random weights on its data: the floor of a comparison."""
        if self.public:
            raise InputError("run", run_id, "has no wiped model here", "Use your own installation.")
        self.warm_up()
        from unlearn_core.runs.references import score_wiped_of

        return score_wiped_of(self.store, run_id)

    # What the model knows -----------------------------------------------------------------------------

    def known_now(self, target: str = "demo", data: str = "demo") -> Safe:
        """A few facts of the forget set, and what the target model says of them now."""
        self.warm_up()
        if target not in self._known:
            try:
                self._known[target] = self._ask_facts(target, data)
            except LetheError as error:
                return tag("p", error, class_="le-problem", role="alert")
        return self._known[target]

    def _ask_facts(self, target: str, data: str) -> Safe:
        from unlearn_core.data.sources import load_data

        loaded = load_data(data, public=self.public)
        by_task = {row.task: row for row in reversed(loaded.forget) if row.kind == "question"}
        rows = [by_task[task] for task in sorted(by_task)][:NUM_KNOWN]
        said = [self.answers.answer(target, row.input, loaded.max_new_tokens) for row in rows]
        blocks = [
            tag(
                "div",
                tag("p", row.input, class_="le-muted"),
                tag("p", words.strip() or "(empty)", class_="le-said"),
            )
            for row, words in zip(rows, said, strict=True)
        ]
        right = sum(
            row.output.strip().lower() == words.strip().lower() for row, words in zip(rows, said, strict=True)
        )
        title = "What it knows now"
        told = (
            f"{right} of these {len(rows)} answers are exact. The forget set holds {len(loaded.forget):,} "
            f"prompts like these; {len(loaded.retain):,} others must survive."
        )
        return tag("div", join(tag("h2", title), tag("p", told, class_="le-muted")),
                   tag("div", *blocks, class_="le-knows"), class_="le-card")  # fmt: skip

    def keep_upload(self, path: Path, filename: str, owner: str = "") -> str:
        """Keep a visitor's file of rows that can be read; the name that a run takes as `data`."""
        from unlearn_core.data.reader import LOCAL, PUBLIC, check_file

        check_file(path, PUBLIC if self.public else LOCAL)
        self.spend("upload", path.stat().st_size)
        name = self.store.keep_upload(path, filename, owner or None)
        try:
            self.columns(name)
        except LetheError:
            self.store.drop_upload(name)
            raise
        return name

    def preview(
        self, data: str, retain: str | None, columns: dict[str, str] | None = None, mmlu: str | None = None
    ) -> dict[str, Any]:
        """Counts and first rows of what the names stand for, after every check."""
        self.warm_up()
        from unlearn_core.data.sources import load_data, preview
        from unlearn_core.runs.run import with_questions

        self.spend("look")
        loaded = load_data(
            data, retain=retain, columns=columns, public=self.public, uploads=self.store.uploads
        )
        return preview(with_questions(loaded, mmlu, self.public))

    def columns(self, data: str) -> tuple[str, ...]:
        """The columns of the rows that `data` names."""
        self.warm_up()
        from unlearn_core.data.sources import columns_of

        return columns_of(data, public=self.public, uploads=self.store.uploads)

    def target_note(self, target: str) -> Safe:
        """What a target needs on this machine, said before it is fetched; nothing for the bundled one."""
        if not target or target == "demo":
            return Safe("")
        self.warm_up()
        from unlearn_core.models.estimate import estimate_target
        from unlearn_core.models.targets import CATALOGUE

        try:
            found = estimate_target(target, public=self.public)
        except LetheError as error:
            named = [f"{info.title} needs {info.needs}. " for info in CATALOGUE if info.name == target]
            return tag("p", *named, error, class_="le-problem", role="alert")
        return tag("p", " ".join(found.sentences()), class_="le-muted" if found.fits else "le-warnings")

    def forecast(self, *form: Any) -> Safe:
        """What the run that a form asks for would take, in a line; nothing where that cannot be told."""
        try:
            spec = self.spec(*form)
            from unlearn_core.models.model_files import free_memory
            from unlearn_core.models.targets import best_device
            from unlearn_core.runs.costs import sentence, shortage
            from unlearn_core.runs.waiting import same_seconds

            cost = self.planner.plan(spec, seconds=same_seconds(self.store, spec))
        except LetheError:  # said where it is typed, or when the run is started
            return Safe("")
        short = shortage(cost, free_memory(best_device()))
        line = tag("p", "This run: about ", sentence(cost.to_json()), ".", class_="le-muted")
        return join(line, tag("p", short, class_="le-warnings", role="status")) if short else line

    @cached_property
    def planner(self) -> Planner:
        """Foretells runs; made after the heavy libraries, whose memory it counts."""
        self.warm_up()
        from unlearn_core.runs.plan import Planner

        return Planner(self.store.home, self.public)
