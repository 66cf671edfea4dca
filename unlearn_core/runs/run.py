"""A run is an iterator of events: load, score, unlearn, score again, judge.

    for event in run(RunSpec(method="npo")): ...

Page, command line, notebook and store all consume it. Closing it is cancelling: it stops within two
steps or two evaluation batches, and frees the model.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError, IntegrityError, ResourceError
from unlearn_core.evaluation.scores import Scores
from unlearn_core.limits import RUN_BYTES, STEPS
from unlearn_core.models import team
from unlearn_core.runs.cache import ScoreCache
from unlearn_core.runs.checkpoints import Checkpoints
from unlearn_core.runs.control import Control
from unlearn_core.runs.costs import Cost, Meter, device, present_memory, resident_memory, shortage
from unlearn_core.runs.events import (
    CostEstimate,
    Event,
    Failed,
    Finished,
    RunStarted,
    Score,
    StageProgress,
    Step,
    Warned,
)  # fmt: skip
from unlearn_core.runs.failure import failed
from unlearn_core.runs.files import save_complete
from unlearn_core.runs.home import home_dir
from unlearn_core.runs.plan import RATE
from unlearn_core.runs.spec import MAX_STEPS, RunSpec
from unlearn_core.runs.timing import Clock, Pace
from unlearn_core.runs.versions import library_versions
from unlearn_core.training.records import LoopStep

if TYPE_CHECKING:
    from unlearn_core.methods.base import Method
    from unlearn_core.models.artifacts import Artifact
    from unlearn_core.models.targets import Target

WEIGHTS = "weights"
RETAIN_ONLY = "demo:retain_only"
_EVERY = 0.25  # seconds between progress events while training
_UNKNOWN = (
    "The original does not know this forget set, so there is nothing to forget. "
    "`lethe memorise` makes a model that knows it."
)


def run(
    spec: RunSpec,
    *,
    home: str | Path | None = None,
    out: str | Path | None = None,
    control: Control | None = None,
    public: bool = False,
    checkpoints: str | Path | None = None,
) -> Iterator[Event]:
    """Carry out `spec` and yield what happens; the last event is Finished or Failed.

    home: where scores are cached and uploads lie (see `home_dir`). out: the folder that gets `weights/`,
    None to keep none. control: buttons for another thread. public: refuse local paths and Hub ids.
    checkpoints: the folder that keeps where the training stands; a run interrupted there goes on from it
    to the same scores.
    """
    end: Failed | None = None
    try:
        yield from _Run(spec, home_dir(home), out, control or Control(), public, checkpoints).events()
    except Exception as error:
        end = failed(error)
        traceback.clear_frames(error.__traceback__)  # they hold the model
    finally:
        free_memory()
    if end is not None:
        yield end


class _Run:
    def __init__(
        self, spec: RunSpec, home: Path, out: str | Path | None, control: Control, public: bool,
        checkpoints: str | Path | None,
    ) -> None:  # fmt: skip
        self.home, self.out, self.control, self.public = home, out, control, public
        self.checkpoint_folder = Path(checkpoints) if checkpoints is not None else None
        from unlearn_core.methods import build

        self.method: Method = build(spec.method, spec.settings, spec.steps)
        settings = {key: getattr(self.method, key) for key in spec.settings if key != "steps"}
        self.steps_given = spec.steps is not None or "steps" in spec.settings
        self.spec = replace(spec, settings=settings, steps=self.method.steps if self.steps_given else None)
        self.gold = spec.target == spec.data == "demo"
        self.cache = ScoreCache(home)
        self.clock = Clock(self._stages())
        self.clock.expect("save", 1.0)
        self.pace = Pace(home)
        self.meter = Meter()
        self.flops: float | None = None

    def _stages(self) -> tuple[str, ...]:
        """What will be done, in order. Weights are kept before they are scored, so that nothing is lost."""
        gold = ("score retain-only",) if self.gold else ()
        save = ("save",) if self.spec.save and self.out is not None else ()
        return ("load", "score original", *gold, "unlearn", *save, "score unlearned")

    def events(self) -> Iterator[Event]:
        from unlearn_core.models.targets import best_device

        stages, steps = self.clock.stages, self.method.steps
        device = str(best_device())
        yield RunStarted(
            self.spec.to_json(), stages, steps, device, self.method.forget_rises, self.method.recovers_by,
            versions=library_versions(),
        )  # fmt: skip
        data, target = yield from self._load()
        if not self.steps_given:
            most = STEPS if self.public else MAX_STEPS
            self.method = self.method.for_rows(len(data.forget), most)
        for note in data.notes:
            yield Warned(note)
        self._expect(target)
        yield from self._estimated(target, data)
        original = yield from self._score("original", target, data, cache=True)
        self._expect_scores(sum(original.seconds.values()))
        if not _knows(original):
            yield Warned(_UNKNOWN)
        gold = (yield from self._score_gold(data)) if self.gold else None
        artifact = yield from self._unlearn(target, data)
        yield from self._save(artifact, target)
        unlearned = yield from self._score("unlearned", target, data, cache=False, gold=gold)
        from unlearn_core.evaluation.judge import verdict

        judged = verdict(original, unlearned, gold)
        where = "" if "save" not in stages else WEIGHTS
        yield Finished(
            judged.to_json(), self.clock.seconds, where, artifact.changed(), self._measured().to_json()
        )

    def _estimated(self, target: Target, data: UnlearningData) -> Iterator[Event]:
        """What the run will take, beside what it then does; said only where it can be told."""
        from unlearn_core.models import model_files
        from unlearn_core.models.shape import Shape
        from unlearn_core.runs.plan import plan_of
        from unlearn_core.training.estimate import Workload

        cost = None
        with contextlib.suppress(Exception):  # an estimate is not worth a run
            work = Workload(target.tokenizer, data)
            shape_of = partial(Shape, target.model.config)
            loaded = sum(p.numel() * p.element_size() for p in target.model.parameters())
            cost = plan_of(
                self.spec, shape_of, work, self.home, processes=team.size(),
                resident=max(1, resident_memory() - loaded),
            )  # fmt: skip
        if cost is None:
            return
        if self.public and (cost.memory or 0) > RUN_BYTES:
            problem = f"would take about {cost.memory / 2**30:.1f} GiB of memory" if cost.memory else ""
            mend = f"Use a smaller batch_size or shorter rows: {RUN_BYTES / 2**30:g} GiB is the limit here."
            raise ResourceError("memory", "this run", problem, mend)
        # A GPU says when its memory is short, and less is computed at once; the system just ends a process.
        place = target.model.device
        if place.type == "cpu":
            short = shortage(cost, model_files.free_memory(place) + resident_memory())
            if short:
                raise short
        self.flops = cost.flops
        yield CostEstimate(cost.to_json())

    def _measured(self) -> Cost:
        cost = self.meter.cost(device(None, self.home), team.size())
        if self.flops and cost.seconds and team.rank() == 0:
            self.pace.write(RATE, self.flops / cost.seconds)
        return cost

    def _expect(self, target: Target) -> None:
        """What earlier runs on this machine say about how long the training will take."""
        # A hash, because settings may hold people's words.
        settings = hashlib.sha256(repr(self.spec.settings).encode()).hexdigest()[:16]
        self.pace_key = f"{target.weights_hash[:16]} {self.spec.method} {settings}"
        per_step = self.pace.read(self.pace_key)
        if per_step is not None:
            self.clock.expect("unlearn", per_step * self.method.steps)

    def _expect_scores(self, seconds: float) -> None:
        for stage in ("score retain-only", "score unlearned"):
            self.clock.expect(stage, seconds)

    def _load(self) -> Generator[Event, None, tuple[UnlearningData, Target]]:
        from unlearn_core.models.targets import load_target

        yield StageProgress("load", 0, 2, "data")
        with self.clock.stage("load"):
            data = load_data(
                self.spec.data, columns=self.spec.columns, retain=self.spec.retain_data, public=self.public,
                uploads=self.home / "uploads",
            )  # fmt: skip
            data = with_questions(data, self.spec.mmlu, self.public, self.spec.target)
            yield StageProgress("load", 1, 2, "model")
            target = load_target(self.spec.target, public=self.public)
        yield StageProgress("load", 2, 2)
        return data, target

    def _score(
        self, name: str, target: Target, data: UnlearningData, *, cache: bool, gold: Scores | None = None
    ) -> Generator[Event, None, Scores]:
        """Score the target as it is now, or read its scores from the cache; `gold` adds what only a
        comparison with the retain-only model shows."""
        from unlearn_core.evaluation.beyond import compared
        from unlearn_core.evaluation.evaluate import evaluate

        stage = f"score {name.replace('_', '-')}"
        with self.clock.stage(stage):
            # What strangers bring is kept in their own runs only, so that it goes with them.
            keep = cache and not (self.public and self.spec.data != "demo")
            scores = team.broadcast(self.cache.read(target.weights_hash, data) if keep else None)
            cached = scores is not None
            if scores is None:
                yield StageProgress(stage, 0, 1, seconds_left=self.clock.left(0.0))
                batches = evaluate(
                    target.model, target.tokenizer, data, weights_hash=target.weights_hash if cache else None
                )
                scores = yield from self._forward(stage, batches)
                if keep and team.rank() == 0:
                    self.cache.write(scores, data)
                if gold is not None:
                    scores = compared(scores, gold)
        yield StageProgress(stage, 1, 1, "from the cache" if cached else "")
        yield Score(name, scores.to_json(generations=True), cached)
        return scores

    def _forward(self, stage: str, batches: Any) -> Generator[Event, None, Scores]:
        """Evaluation progress as stage progress; returns the scores."""
        while True:
            try:
                part = next(batches)
            except StopIteration as stop:
                scores: Scores = stop.value
                return scores
            done = part.done / part.total if part.total else 0.0
            if stage == "score original" and done > 0.05:  # what comes later takes as long as this does
                self._expect_scores(self.clock.elapsed / done)
            left = self.clock.left(done)
            yield StageProgress(stage, part.done, part.total, part.stage, left)

    def _score_gold(self, data: UnlearningData) -> Generator[Event, None, Scores | None]:
        """The model trained without the forget set; runs do without where it is not installed."""
        from unlearn_core.models.targets import load_target

        try:
            gold = load_target(RETAIN_ONLY)
        except IntegrityError as error:
            self.clock.seconds["score retain-only"] = 0.0
            yield Warned(f"The retain-only model cannot be shown. {error}")
            return None
        scores = yield from self._score("retain_only", gold, data, cache=True)
        return scores

    def _unlearn(self, target: Target, data: UnlearningData) -> Generator[Event, None, Artifact]:
        from unlearn_core.training.loop import unlearn
        from unlearn_core.training.snapshot import Snapshot

        yield StageProgress("unlearn", 0, self.method.steps, "preparing")
        with self.clock.stage("unlearn"):
            self.checkpoints = self._open_checkpoints(target, data)
            self.snapshot = Snapshot(self.checkpoints.latest() if self.checkpoints else None)
            records = unlearn(
                target.model, target.tokenizer, data, self.method, seed=self.spec.seed,
                adapter=self.spec.adapter, stop=lambda: self.control.finishing,
                best=lambda: self.spec.keep_best or self.control.keeping_best, snapshot=self.snapshot,
            )  # fmt: skip
            try:
                artifact = yield from self._trained(records)
            except GeneratorExit:
                if self.control.pausing and team.size() == 1 and self.checkpoints and self.snapshot.attached:
                    self.checkpoints.write(self.snapshot)
                raise
            finally:
                records.close()
        if not self.control.finishing and team.rank() == 0:
            self.pace.write(self.pace_key, self.clock.seconds["unlearn"] / self.method.steps)
        return artifact

    def _open_checkpoints(self, target: Target, data: UnlearningData) -> Checkpoints | None:
        if self.checkpoint_folder is None:
            return None
        spec = {key: value for key, value in self.spec.to_json().items() if key not in ("name", "save")}
        facts = {"spec": spec, "original": target.weights_hash, "data": data.fingerprint}
        return Checkpoints(self.checkpoint_folder, facts)

    def _keep(self) -> Iterator[Event]:
        """A checkpoint where one is due; without room for it the training goes on."""
        if self.checkpoints is None or not self.checkpoints.due():
            return
        try:
            self.checkpoints.write(self.snapshot)
        except ResourceError:
            yield Warned("There was no room on the disk for a checkpoint; the training goes on without.")

    def _trained(self, records: Any) -> Generator[Event, None, Artifact]:
        shown, before = 0.0, 0.0
        while True:
            try:
                record = next(records)
            except StopIteration as stop:
                artifact: Artifact = stop.value
                return artifact
            if not isinstance(record, LoopStep):
                yield record
            else:
                left = self.clock.left(record.step / record.num_steps)
                yield from self._keep()
                rate = record.tokens / max(record.seconds - before, 1e-9)
                before = record.seconds
                yield Step(
                    record.step, record.num_steps, record.losses, record.learning_rate, record.gradient_norm,
                    rate, record.seconds, left, present_memory(),
                )  # fmt: skip
                if time.perf_counter() - shown > _EVERY or record.step == record.num_steps:
                    shown = time.perf_counter()
                    yield StageProgress("unlearn", record.step, record.num_steps, seconds_left=left)

    def _save(self, artifact: Artifact, target: Target) -> Iterator[Event]:
        if "save" not in self.clock.stages or team.rank() > 0:
            return
        from unlearn_core.models.hashing import weights_hash

        assert self.out is not None
        yield StageProgress("save", 0, 1, seconds_left=self.clock.left(0.0))
        with self.clock.stage("save"):
            facts = {
                "weights_hash": weights_hash(artifact.model),
                "original_weights_hash": target.weights_hash,
                "spec": self.spec.to_json(),
            }
            folder = Path(self.out).absolute() / WEIGHTS
            save_complete(folder, lambda partial: _checkpoint(artifact, partial, target), facts)
        yield StageProgress("save", 1, 1)


def _knows(original: Scores) -> bool:
    """Whether the original tells the forget set well enough that forgetting could be seen."""
    for name, value in original.terms.items():
        # Fluent text that knows nothing reaches a ROUGE-L recall of up to 0.3; exact answers are no accident.
        enough = 0.05 if name.endswith("knowledge") else 0.4
        if name.startswith("forget") and value is not None and value > enough:
            return True
    return False


def _checkpoint(artifact: Artifact, folder: Path, target: Target) -> None:
    from unlearn_core.models.artifacts import Adapter

    artifact.save(folder, target.tokenizer, target.ref)
    if isinstance(artifact, Adapter):
        artifact.save_adapter(folder / "adapter")


def with_questions(data: UnlearningData, mmlu: str | None, public: bool, target: str = "") -> UnlearningData:
    """The data with utility questions: those that `mmlu` names, else, for the bundled model, its own."""
    if mmlu is not None:
        if public:
            raise InputError("mmlu", mmlu, "is not offered here", "Leave it out.")
        from unlearn_core.evaluation.mmlu_files import load_mmlu

        few_shot, questions = load_mmlu(mmlu)
        return replace(data, questions=questions, few_shot=few_shot, question_form="letter")
    if target == "demo" and not data.questions:
        demo = load_data("demo")
        form = demo.question_form
        return replace(data, questions=demo.questions, few_shot=demo.few_shot, question_form=form)
    return data


def free_memory() -> None:
    """Give memory back: collect, empty the device's cache, and return the heap to the system."""
    import ctypes
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # not glibc
