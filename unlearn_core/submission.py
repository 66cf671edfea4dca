"""The organisers' entry point of SemEval-2025 Task 4: one call, one hour, one checkpoint.

    from unlearn_core.submission import unlearn
    unlearn(model_path, output_path, forget_dir, retain_dir)

A few documents of the retain set are kept out of the training. A few times on the way, and at its end,
the model is scored on them, beside as many and more that were trained on, and on a sample of the forget
set; the best so far lies at `output_path`, whole at any moment, with `selection.json` beside the weights
saying what was chosen from what. So running out of time costs the last minutes and not the submission, and
going too far costs nothing.

The held-out part is small, because what is not trained on is not kept either, and the organisers score
all of it. The forget set has none: what is kept out of it would not be forgotten.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

    from unlearn_core.data.types import UnlearningData
    from unlearn_core.evaluation.scores import Scores
    from unlearn_core.methods.base import Method
    from unlearn_core.models.artifacts import Artifact
    from unlearn_core.models.targets import Target
    from unlearn_core.runs.spec import Settings
    from unlearn_core.training.records import Record

TIME_BUDGET = 55 * 60.0  # seconds, scoring and saving included; the rest of the hour is for what went slow
NUM_CANDIDATES = 8  # states of the model that are scored on the way, the last one included
_PER_TASK = 12  # documents of each task and set that a candidate is scored on
_TRIAL_STEPS = 3
_SAFETY = 0.9  # share of the time left that is planned for
SELECTION = "selection.json"


def unlearn(
    model_path: str,
    output_path: str,
    forget_dir: str,
    retain_dir: str,
    *,
    method: str = "lethe",
    settings: Settings | None = None,
    seed: int = 0,
    seconds: float = TIME_BUDGET,
    candidates: int = NUM_CANDIDATES,
) -> None:
    """Make the model at `model_path` forget the rows in `forget_dir` and write it to `output_path`.

    `seconds` bounds the whole call, as far as one step and one scoring can be foreseen; where the method's
    steps do not fit into it, it gets fewer, so that its schedule still ends. `candidates` are scored, at
    least the last. Raises LetheError for unusable input or a full disk, and for a loss that is
    not finite before anything was saved; afterwards training just ends there, with the best at hand.
    """
    from unlearn_core.data.sources import load_data
    from unlearn_core.data.subset import hold_out, some_documents
    from unlearn_core.errors import InputError
    from unlearn_core.methods import build
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target
    from unlearn_core.training.loop import unlearn as train
    from unlearn_core.training.records import LoopStep, StepDiverged

    began = time.monotonic()
    chosen = build(method, settings)
    if not chosen.info.changes_weights:
        problem = "changes no weight, so the checkpoint would be the original"
        raise InputError("method", method, problem, "Choose a method that changes weights.")
    data = load_data(forget_dir, retain=retain_dir)
    chosen = chosen.for_rows(len(data.forget), given=settings or ())
    kept, aside = hold_out(data.retain, most=_PER_TASK)
    judged_by = replace(
        data,
        forget=some_documents(data.forget, _PER_TASK),
        retain=(*aside, *some_documents(kept, _PER_TASK)),
        members=(),
        nonmembers=(),
    )
    target = load_target(model_path)
    use_format(target.model, target.tokenizer, data)
    selection = Selection(target, judged_by, Path(output_path))
    selection.measure_original()

    def training(method: Method) -> Generator[Record, None, Artifact]:
        return train(
            target.model,
            target.tokenizer,
            replace(data, retain=kept),
            method,
            seed=seed,
            probe_ids=(),
            stop=lambda: time.monotonic() - began + selection.seconds > seconds,
        )

    trial_began = time.monotonic()
    per_step = seconds_per_step(training(chosen))
    trial = time.monotonic() - trial_began  # what is prepared for it is prepared again
    left = seconds - (time.monotonic() - began) - trial - candidates * selection.seconds
    fitting = max(1, int(_SAFETY * left / per_step)) if per_step else chosen.steps
    chosen = replace(chosen, steps=min(chosen.steps, fitting))
    every = max(1, chosen.steps // max(1, candidates))
    step = 0
    try:
        for record in training(chosen):
            if isinstance(record, LoopStep):
                step = record.step
                if step % every == 0 and step + every <= chosen.steps:
                    selection.consider(step)
    except StepDiverged:
        if selection.best is None:
            raise
        return
    selection.consider(step)


def seconds_per_step(records: Generator[Record, None, Artifact]) -> float | None:
    """What a step takes, measured on the first few, which are undone. The schedule of the learning rate can
    then end with the time. None where the training is over or diverges before that."""
    from unlearn_core.training.records import LoopStep, StepDiverged

    try:
        for record in records:
            if isinstance(record, LoopStep) and record.step == _TRIAL_STEPS:
                return record.seconds / record.step
    except StepDiverged:
        pass  # the training proper meets it again, and tells
    finally:
        records.close()  # puts the model back exactly as it was
    return None


@dataclass
class Selection:
    """Scores states of the model on a part of the data and keeps the best one on disk."""

    target: Target
    data: UnlearningData
    out: Path
    best: tuple[float, ...] | None = None
    seconds: float = 0.0  # what the last scoring and saving took
    trail: list[dict[str, Any]] = field(default_factory=list)
    original: Scores | None = None
    chosen: int = 0  # the step whose state lies on disk

    def measure_original(self) -> None:
        """What candidates are judged against; call it before training."""
        began = time.monotonic()
        self.original = self._score()
        self.seconds = time.monotonic() - began

    def consider(self, step: int) -> None:
        """Score the model as it is now; replace the checkpoint if there is none better."""
        from unlearn_core.evaluation.verdict import verdict
        from unlearn_core.models.adapters import plain_state
        from unlearn_core.models.files.checkpoint import write_checkpoint
        from unlearn_core.system.files import write_json

        assert self.original is not None
        began = time.monotonic()
        scores = self._score()
        label = verdict(self.original, scores).word
        rank = ranking(scores, label)
        if self.best is None or rank > self.best:
            self.best, self.chosen = rank, step
            model = self.target.model
            write_checkpoint(model, plain_state(model), self.out, self.target.tokenizer)
        terms = {name: value for name, value in scores.terms.items() if value is not None}
        aggregate = scores.details.partial_aggregate
        self.trail.append({"step": step, "verdict": label, "aggregate": aggregate, "terms": terms})
        sizes = {"forget": len(self.data.forget), "retain": len(self.data.retain)}
        record = {"chosen_step": self.chosen, "candidates": self.trail, "judged_by": sizes}
        write_json(self.out / SELECTION, record)
        self.seconds = time.monotonic() - began

    def _score(self) -> Scores:
        from unlearn_core.evaluation.evaluate import EvaluationSettings, evaluate
        from unlearn_core.evaluation.progress import result_of

        settings = EvaluationSettings(paraphrases=False, beyond=False)
        work = evaluate(self.target.model, self.target.tokenizer, self.data, weights_hash="unsaved", settings=settings)
        return result_of(work)


def ranking(scores: Scores, label: str) -> tuple[float, ...]:
    """What a state is chosen by: first not a wreck, then the harmonic mean of its terms, then their mean
    (which still tells states apart where one term is 0)."""
    present = [value for value in scores.aggregated_terms if value is not None]
    mean = sum(present) / len(present) if present else 0.0
    return float(label != "collapsed"), scores.details.partial_aggregate or 0.0, mean
