"""A run is an iterator of events: load, score, unlearn, score again, judge.

    for event in run(RunSpec(method="npo")): ...

Page, command line, notebook and store all consume it. Closing it is cancelling: it stops within two
steps or two evaluation batches, and frees the model.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import traceback
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from unlearn_core.data.last_turn import last_turn
from unlearn_core.data.prompt_format import digest_of, named, put_on
from unlearn_core.data.sources import sheet_of
from unlearn_core.data.subject_sheet import SubjectSheet
from unlearn_core.data.subjects import split_neighbours
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import IntegrityError, ResourceError, clip, is_panic
from unlearn_core.evaluation.progress import Progress, ResultIterator
from unlearn_core.evaluation.protocols.base import Protocol
from unlearn_core.evaluation.protocols.references.reference import is_stored, read_stored
from unlearn_core.evaluation.protocols.registry import protocol_for
from unlearn_core.evaluation.protocols.terms.row_log import RowLog
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict.rows import is_told
from unlearn_core.limits import STEPS
from unlearn_core.runs.cache import ScoreCache
from unlearn_core.runs.checkpoints import Checkpoints
from unlearn_core.runs.control import Control
from unlearn_core.runs.data import BUNDLED, asks_the_model, load_for, wanted_format, with_questions
from unlearn_core.runs.events import (
    CostEstimate,
    Event,
    Failed,
    Finished,
    PlacedSubject,
    PromptChosen,
    RunStarted,
    Score,
    StageProgress,
    Step,
    SubjectAnswers,
    SubjectFound,
    SubjectsPlaced,
    Warned,
)
from unlearn_core.runs.failure import failed
from unlearn_core.runs.planning.costs import Cost, RunMeter, check_room, device
from unlearn_core.runs.planning.plan import method_of, plan_of_loaded, rate_of
from unlearn_core.runs.planning.timing import StageTimer, ThroughputCache
from unlearn_core.runs.spec import MAX_STEPS, RunSpec
from unlearn_core.system.files import save_complete
from unlearn_core.system.home import home_dir
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.memory import present_memory, release_memory
from unlearn_core.system.versions import library_versions
from unlearn_core.training.records import LoopStep

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.methods.base import Method
    from unlearn_core.models.artifacts import Artifact
    from unlearn_core.models.targets import Target
    from unlearn_core.training.records import Record

Found = TypeVar("Found")
_NAMED = 3  # facts that the original does not tell, named before the training
_MEND = "`lethe memorise` makes a model that knows them."
WEIGHTS = "weights"
_EVERY = 0.25  # seconds between progress events while training
_LOOKED_AGAIN = (2, 5, 10, 20, 40)  # steps after which a core may be free that was not: a page settles by then


def run(
    spec: RunSpec,
    *,
    home: str | Path | None = None,
    out: str | Path | None = None,
    control: Control | None = None,
    public: bool = False,
    checkpoints: str | Path | None = None,
) -> Generator[Event]:
    """Carry out `spec` and yield what happens; the last event is Finished or Failed.

    home: where scores are cached and uploads lie (see `home_dir`). out: the folder that gets `weights/`,
    None to keep none. control: buttons for another thread. public: refuse local paths and Hub ids.
    checkpoints: the folder that keeps where the training stands; a run interrupted there goes on from it
    to the same scores.
    """
    end: Failed | None = None
    try:
        yield from _Run(spec, home_dir(home), out, control or Control(), public, checkpoints).events()
    except BaseException as error:
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        end = failed(error)
        traceback.clear_frames(error.__traceback__)  # they hold the model
    finally:
        release_memory()
    if end is not None:
        yield end


class _Run:
    def __init__(
        self,
        spec: RunSpec,
        home: Path,
        out: str | Path | None,
        control: Control,
        public: bool,
        checkpoints: str | Path | None,
    ) -> None:
        self.home, self.out, self.control, self.public = home, out, control, public
        self.checkpoint_folder = Path(checkpoints) if checkpoints is not None else None
        from unlearn_core.methods import build
        from unlearn_core.models.catalogue import retain_model_of

        self.method: Method = build(spec.method, spec.settings, spec.steps)
        settings = {key: getattr(self.method, key) for key in spec.settings if key != "steps"}
        steps_given = spec.steps is not None or "steps" in spec.settings
        self.spec = replace(spec, settings=settings, steps=self.method.steps if steps_given else None)
        self.retain_model = retain_model_of(spec.target, spec.data, spec.retain_model, spec.subject)
        self.cache = ScoreCache(home)
        self.clock = StageTimer(self._stages())
        self.clock.expect("save", 1.0)
        self.pace = ThroughputCache(home)
        self.meter = RunMeter()
        self.flops: float | None = None
        self.rate_name = ""
        self.sheet: SubjectSheet | None = None
        self.protocol: Protocol | None = None
        self.reference: RowLog | None = None  # the retain model's per-row values on a benchmark
        self.kept = True
        self.unlearned_hash: str | None = None

    def _stages(self) -> tuple[str, ...]:
        """What will be done, in order. Weights are kept before they are scored, so that nothing is lost."""
        gold = ("score retain-only",) if self.retain_model else ()
        save = ("save",) if self.spec.save and self.out is not None else ()
        return ("load", "score original", *gold, "unlearn", *save, "score unlearned")

    def events(self) -> Iterator[Event]:
        from unlearn_core.models.generation.decoding import words_on
        from unlearn_core.models.inference.frozen_bottom import frozen_below
        from unlearn_core.models.targets import best_device
        from unlearn_core.training.loop import lowest_to_train

        stages, steps = self.clock.stages, self.method.steps
        device = str(best_device())
        yield RunStarted(
            self.spec.to_json(),
            stages,
            steps,
            device,
            self.method.traits.forget_rises,
            self.method.traits.recovers_by,
            versions=library_versions(),
        )
        data, target = yield from self._load()
        self.method = method_of(self.spec, len(data.forget), STEPS if self.public else MAX_STEPS)
        for note in data.notes:
            yield Warned(note)
        yield self._use_format(target, data)
        data = yield from self._with_neighbours(target, data)
        if told := words_on(target.model):
            yield Warned(told)
        self._expect(target)
        yield from self._estimated(target, data)
        self.protocol = protocol_for(self.spec.protocol, data)
        with frozen_below(target.model, lowest_to_train(self.method, target.model, self.spec.adapter)):
            original = yield from self._score("original", target, data, cache=True)
            self._expect_scores(sum(original.seconds.values()))
            yield from self._answers("original", target, original)
            yield from self._placed(target, data)
            yield from self._tell_unknown(original)
            gold = yield from self._score_retain_model(data)
            if self.reference is not None:
                original = self._benchmarked(original)
                yield Score("original", original.to_json(generations=True), True)
            artifact = yield from self._unlearn(target, data)
            yield from self._save(artifact, target)
            with artifact.as_saved():  # what is judged is what is kept
                unlearned = yield from self._score("unlearned", target, data, cache=False, gold=gold)
                yield from self._answers("unlearned", target, unlearned)
        from unlearn_core.evaluation.verdict import verdict

        judged = verdict(original, unlearned, gold)
        where = WEIGHTS if "save" in stages and self.kept else ""
        yield Finished(judged.to_json(), self.clock.seconds, where, artifact.changed(), self._measured().to_json())

    def _use_format(self, target: Target, data: UnlearningData) -> PromptChosen:
        """Fix how prompts are put to the model; every later step, and the record, has it by name."""
        from unlearn_core.models.inference.prompting import use_format

        wanted = wanted_format(self.spec.prompt, self.sheet is not None)
        chosen = use_format(target.model, target.tokenizer, data, wanted)
        self.spec = replace(self.spec, prompt=chosen.format.name)
        self.prompt = digest_of(target.tokenizer)
        return PromptChosen(chosen.format.name, chosen.words, chosen.sample)

    def _with_neighbours(self, target: Target, data: UnlearningData) -> Generator[Event, None, UnlearningData]:
        """Where nobody said what must stay: the model's own answers about others, most of them to train on."""
        if data.retain or data.neighbours or self.spec.target in BUNDLED or distributed.size() > 1:
            return data
        from unlearn_core.knowledge.neighbours import made_neighbours

        made = made_neighbours(target.model, target.tokenizer, data)
        if not made:
            return data
        neighbours, retain = split_neighbours(data.forget, made)
        yield Warned(
            f"No retain set is given. {len(retain)} answers of the model's own about others are kept instead, and "
            f"{len(neighbours)} more show what else was lost."
        )
        return replace(data, retain=retain, neighbours=neighbours)

    def _tell_unknown(self, original: Scores) -> Iterator[Event]:
        """Which facts to forget the original does not tell, in whatever words it puts its answers: said before
        anything is trained, and left out of the verdict."""
        rows = [row for row in original.generations if row.split == "forget"]
        unknown = [row for row in rows if not is_told(row)]
        if rows and len(unknown) == len(rows):
            yield Warned(f"The original tells none of the facts to forget, so there is nothing to forget. {_MEND}")
        elif unknown:
            which = "; ".join(clip(last_turn(row.input), 60) for row in unknown[:_NAMED])
            more = f"; and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
            told = f"Of {len(rows)} facts to forget the original tells {len(rows) - len(unknown)}"
            yield Warned(f"{told}; the others are not claimed as forgotten: {which}{more}.")

    def _estimated(self, target: Target, data: UnlearningData) -> Iterator[Event]:
        """What the run will take, beside what it then does; said only where it can be told."""
        cost = None
        with contextlib.suppress(Exception):  # an estimate is not worth a run
            cost = plan_of_loaded(self.spec, target, data, self.home)
        if cost is None:
            return
        check_room(cost, target.model.device, self.public)
        self.flops, self.rate_name = cost.flops, rate_of(target.model.dtype)
        yield CostEstimate(cost.to_json())

    def _measured(self) -> Cost:
        cost = self.meter.cost(device(None, self.home), distributed.size())
        if self.flops and cost.seconds and distributed.rank() == 0:
            self.pace.write(self.rate_name, self.flops / cost.seconds)
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
        from unlearn_core.models.inference.side_by_side import choose_threads
        from unlearn_core.models.targets import load_target
        from unlearn_core.runs.model_sheet import read_sheet

        yield StageProgress("load", 0, 2, "data")
        with self.clock.stage("load"):
            target = None
            if asks_the_model(self.spec):
                target = load_target(self.spec.target, public=self.public)
                yield from self._find_subject(target)
            data = load_for(self.spec, public=self.public, uploads=self.home / "uploads")
            data = with_questions(data, self.spec.mmlu, self.public, self.spec.target)
            yield StageProgress("load", 1, 2, "model")
            target = target or load_target(self.spec.target, public=self.public)
            choose_threads(target.model)
            switched_off = [line.told for line in read_sheet(target.model) if not line.holds and line.told]
            self.sheet = sheet_of(self.spec.data, public=self.public, uploads=self.home / "uploads")
        if self.sheet is not None:
            yield SubjectFound(self.sheet.to_json(), self.spec.data)
        yield StageProgress("load", 2, 2)
        for note in switched_off:
            yield Warned(note)
        return data, target

    def _find_subject(self, target: Target) -> Generator[Event]:
        """Ask the model what it knows of the subject; the answer is the run's data from here on."""
        from unlearn_core.knowledge.find import find
        from unlearn_core.runs.subject import keep_sheet

        assert self.spec.subject is not None
        found = find(target.model, target.tokenizer, self.spec.subject, self.spec.seed)
        sheet = yield from self._forward("load", found)
        self.spec = replace(self.spec, data=keep_sheet(sheet, self.home / "uploads"), subject=None)

    def _answers(self, name: str, target: Target, scores: Scores) -> Iterator[Event]:
        """What the model says to the prompts of a subject's sheet, where the data is one."""
        if self.sheet is not None:
            from unlearn_core.runs.subject import answers

            yield SubjectAnswers(name, *answers(target, self.sheet, scores))

    def _placed(self, target: Target, data: UnlearningData) -> Iterator[Event]:
        """The map of the subjects, where they are at least three; a team of processes makes none."""
        if distributed.size() > 1:
            return
        from unlearn_core.data.subject_groups import subject_groups
        from unlearn_core.evaluation.neighbourhood import place_subjects

        groups = subject_groups(data)
        places = place_subjects(target.model, target.tokenizer, groups)
        if places is None:
            return
        subjects = tuple(
            PlacedSubject(group.name, group.split, x, y, group.rows[0].input, tuple(row.id for row in group.rows))
            for group, (x, y) in zip(groups, places.points, strict=True)
        )
        yield SubjectsPlaced(subjects, places.layer, places.num_layers, places.spread)

    def _score(
        self, name: str, target: Target, data: UnlearningData, *, cache: bool, gold: Scores | None = None
    ) -> Generator[Event, None, Scores]:
        """Score the target as it is now, or read its scores from the cache; `gold` adds what only a
        comparison with the retain-only model shows."""
        from unlearn_core.evaluation.evaluate import evaluate
        from unlearn_core.evaluation.metrics.memorisation import compared

        stage = f"score {name.replace('_', '-')}"
        with self.clock.stage(stage):
            # What strangers bring is kept in their own runs only, so that it goes with them.
            keep = cache and not (self.public and self.spec.data != "demo")
            prompt = digest_of(target.tokenizer)
            known = self.cache.read(target.weights_hash, data, prompt, self.protocol) if keep else None
            scores = distributed.broadcast(known)
            cached = scores is not None
            if scores is None:
                yield StageProgress(stage, 0, 1, seconds_left=self.clock.left(0.0))
                digest = target.weights_hash if cache else self.unlearned_hash
                batches = evaluate(target.model, target.tokenizer, data, weights_hash=digest)
                scores = yield from self._forward(stage, batches)
                if self.protocol is not None:
                    log = yield from self._forward(stage, self.protocol.measure(target.model, target.tokenizer, data))
                    scores = replace(scores, rows=log)
                if keep and distributed.rank() == 0:
                    self.cache.write(scores, data, self.protocol)
                if gold is not None:
                    scores = compared(scores, gold)
        if name == "retain_only":
            self.reference = scores.rows
        scores = self._benchmarked(scores)
        yield StageProgress(stage, 1, 1, "from the cache" if cached else "")
        yield Score(name, scores.to_json(generations=True), cached)
        return scores

    def _benchmarked(self, scores: Scores) -> Scores:
        """With the terms of the benchmark, read against the retain model where there is one."""
        if self.protocol is None or scores.rows is None:
            return scores
        return replace(scores, benchmark=self.protocol.score(scores.rows, self.reference))

    def _forward(self, stage: str, batches: Generator[Progress, None, Found]) -> Generator[Event, None, Found]:
        """Evaluation progress as stage progress; returns what the evaluation does."""
        scoring = ResultIterator(batches)
        for part in scoring:
            done = part.done / part.total if part.total else 0.0
            if stage == "score original" and done > 0.05:  # what comes later takes as long as this does
                self._expect_scores(self.clock.elapsed / done)
            yield StageProgress(stage, part.done, part.total, part.stage, self.clock.left(done))
        return scoring.result

    def _score_retain_model(self, data: UnlearningData) -> Generator[Event, None, Scores | None]:
        """The model trained without the forget set; runs do without where it is not in this installation."""
        from unlearn_core.models.targets import load_target

        if self.retain_model is None:
            return None
        if is_stored(self.retain_model):
            self.clock.seconds["score retain-only"] = 0.0
            stored, self.reference = read_stored(self.retain_model, data, self.public, self.prompt)
            if stored is not None:
                self.reference = stored.rows
                yield Score("retain_only", stored.to_json(generations=True), True)
            return stored
        try:
            retain_only = load_target(self.retain_model, public=self.public)
        except IntegrityError as error:
            if self.spec.retain_model is not None:
                raise
            self.clock.seconds["score retain-only"] = 0.0
            yield Warned(f"The retain-only model cannot be shown. {error}")
            return None
        put_on(retain_only.tokenizer, named(self.spec.prompt, retain_only.tokenizer))
        scores = yield from self._score("retain_only", retain_only, data, cache=True)
        return scores

    def _unlearn(self, target: Target, data: UnlearningData) -> Generator[Event, None, Artifact]:
        from unlearn_core.training.loop import unlearn
        from unlearn_core.training.snapshot import Snapshot

        yield StageProgress("unlearn", 0, self.method.steps, "preparing")
        with self.clock.stage("unlearn"):
            self.checkpoints = self._open_checkpoints(target, data)
            self.snapshot = Snapshot(self.checkpoints.latest() if self.checkpoints else None)
            records = unlearn(
                target.model,
                target.tokenizer,
                data,
                self.method,
                seed=self.spec.seed,
                adapter=self.spec.adapter,
                stop=lambda: self.control.finishing,
                best=lambda: self.spec.keep_best or self.control.keeping_best,
                snapshot=self.snapshot,
            )
            try:
                artifact = yield from self._trained(records, target.model)
            except GeneratorExit:
                if self.control.pausing and distributed.size() == 1 and self.checkpoints and self.snapshot.attached:
                    self.checkpoints.write(self.snapshot)
                raise
            finally:
                records.close()
            release_memory()  # what only the training needed is not to stand beside what scoring needs
        if not self.control.finishing and distributed.rank() == 0:
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
        if self.checkpoints is None or not self.snapshot.attached or not self.checkpoints.due():
            return
        try:
            self.checkpoints.write(self.snapshot)
        except ResourceError:
            yield Warned("There was no room on the disk for a checkpoint; the training goes on without.")

    def _trained(
        self, records: Generator[Record, None, Artifact], model: PreTrainedModel
    ) -> Generator[Event, None, Artifact]:
        from unlearn_core.models.inference.side_by_side import choose_threads

        shown, before = 0.0, 0.0
        training = ResultIterator(records)
        for record in training:
            if not isinstance(record, LoopStep):
                yield record
            else:
                if record.step in _LOOKED_AGAIN:
                    choose_threads(model)
                left = self.clock.left(record.step / record.num_steps)
                yield from self._keep()
                rate = record.tokens / max(record.seconds - before, 1e-9)
                before = record.seconds
                yield Step(
                    record.step,
                    record.num_steps,
                    record.losses,
                    record.learning_rate,
                    record.gradient_norm,
                    rate,
                    record.seconds,
                    left,
                    present_memory(),
                )
                if time.perf_counter() - shown > _EVERY or record.step == record.num_steps:
                    shown = time.perf_counter()
                    yield StageProgress("unlearn", record.step, record.num_steps, seconds_left=left)
        return training.result

    def _save(self, artifact: Artifact, target: Target) -> Iterator[Event]:
        if "save" not in self.clock.stages:
            return
        from unlearn_core.models.hashing import weights_hash
        from unlearn_core.models.split import gathered, is_split

        if distributed.rank() > 0:
            if is_split(artifact.model):  # the first process asks for this one's parts, in this order
                with artifact.as_saved():
                    self.unlearned_hash = weights_hash(artifact.model)
                gathered(artifact.model, keep=False)
            return

        assert self.out is not None
        yield StageProgress("save", 0, 1, seconds_left=self.clock.left(0.0))
        with self.clock.stage("save"):
            with artifact.as_saved():  # by which an attack on what is saved knows that it was scored
                self.unlearned_hash = weights_hash(artifact.model)
            facts = {
                "weights_hash": self.unlearned_hash,
                "original_weights_hash": target.weights_hash,
                "spec": self.spec.to_json(),
            }
            folder = Path(self.out).absolute() / WEIGHTS
            try:
                save_complete(folder, lambda partial: _checkpoint(artifact, partial, target), facts)
            except IntegrityError as error:  # what was trained is scored all the same
                self.kept = False
                yield Warned(f"The unlearned weights are not kept. {error}")
        yield StageProgress("save", 1, 1)


def _checkpoint(artifact: Artifact, folder: Path, target: Target) -> None:
    from unlearn_core.models.artifacts import Adapter

    artifact.save(folder, target.tokenizer, target.ref)
    if isinstance(artifact, Adapter):
        artifact.save_adapter(folder / "adapter")
