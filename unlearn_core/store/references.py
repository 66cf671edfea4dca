"""The fixed points a run is read against: the original (which is what doing nothing scores), the model
trained without the forget set, and a wiped model, all scored on the same data.

The first two are in the runs' own records. The wiped model is the original with every weight matrix drawn
anew; it is scored once per model and data and kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.data.prompt_format import digest_of
from unlearn_core.errors import LetheError
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.references.published import WIPED
from unlearn_core.evaluation.scores import Scores
from unlearn_core.runs.spec import RunSpec
from unlearn_core.store.store import RunStore
from unlearn_core.store.table.rows import RunQuery, RunRow, ground_of
from unlearn_core.system.files import read_json, write_json
from unlearn_core.system.log import LOGGER

if TYPE_CHECKING:
    import torch

    from unlearn_core.data.types import UnlearningData
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.models.targets import Target

TITLES = {"original": "Original (doing nothing)", "retain_only": "Retain-only model", "wiped": "Wiped model"}
_BAND = f"not scored here; the published band on the benchmark's 7B model is {WIPED[0]} to {WIPED[1]}"


@dataclass(frozen=True)
class ReferencePoint:
    """A fixed point with its scores as a row of the plot; `row` is None where it has not been scored."""

    model: str
    row: RunRow | None
    note: str = ""

    @property
    def title(self) -> str:
        return TITLES[self.model]


def references(store: RunStore, ground: str) -> list[ReferencePoint]:
    """The reference points of the runs of one ground, from real scores; what is missing says so."""
    found: dict[str, ScoresJson] = {}
    rows, _ = store.rows(RunQuery(ground=ground, status="finished", limit=50))
    for row in rows:
        for model, scores in store.get(row.id).scores.items():
            if model != "unlearned":
                found.setdefault(model, scores)
        if {"original", "retain_only"} <= found.keys():
            break
    wiped = read_wiped(store.home, ground)
    if wiped is not None:
        found["wiped"] = wiped.to_json()
    notes = {"wiped": _BAND, "retain_only": "not known for this model and data"}
    return [
        ReferencePoint(model, _row(model, found[model]))
        if model in found
        else ReferencePoint(model, None, notes[model])
        for model in TITLES
        if model in found or model in notes
    ]


def read_wiped(home: Path, ground: str) -> Scores | None:
    """The kept scores of the wiped model; a damaged or missing file is a miss."""
    try:
        return Scores.from_json(read_json(_path(home, ground)))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def score_wiped(home: Path, target: Target, data: UnlearningData) -> Generator[Progress, None, Scores]:
    """Wipe `target`, score it on `data` and keep the scores; progress meanwhile. The target is used up."""
    from unlearn_core.evaluation.evaluate import EvaluationSettings, evaluate

    facts = {"weights_hash": target.weights_hash, "data_fingerprint": data.fingerprint}
    facts["prompt"] = digest_of(target.tokenizer)
    wipe(target.model)
    settings = EvaluationSettings(paraphrases=False, beyond=False)  # the plot needs none of these
    scores = yield from evaluate(target.model, target.tokenizer, data, settings=settings)
    path = _path(home, ground_of({"original": facts}))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, scores.to_json())
    except (OSError, ValueError, LetheError):
        LOGGER.exception("scores of the wiped model could not be kept")
    return scores


def score_wiped_of(store: RunStore, run_id: str) -> Generator[Progress, None, Scores]:
    """The same for the model and data of a run."""
    from unlearn_core.models.inference.prompting import use_format
    from unlearn_core.models.targets import load_target
    from unlearn_core.runs.data import load_for, with_questions

    spec = RunSpec.from_json(store.get(run_id).spec)
    data = with_questions(load_for(spec, uploads=store.uploads), spec.mmlu, False, spec.target)
    target = load_target(spec.target)
    use_format(target.model, target.tokenizer, data, spec.prompt)
    return (yield from score_wiped(store.home, target, data))


def wipe(model: torch.nn.Module) -> None:
    """Draw every weight matrix anew: independent normal numbers with the matrix's own mean and spread, so
    that nothing learned is left and the sizes stay what the architecture expects."""
    import torch

    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                new = torch.randn(parameter.shape, generator=generator)
                values = parameter.float()
                parameter.copy_(new.to(parameter.device) * values.std() + values.mean())


def _row(model: str, scores: ScoresJson) -> RunRow:
    record = {"id": model, "created": 0, "status": "", "spec": {"name": TITLES[model]}}
    return RunRow.of({**record, "scores": {"unlearned": scores}}, {})


def _path(home: Path, ground: str) -> Path:
    return home / "cache" / "wiped" / f"{hashlib.sha256(ground.encode()).hexdigest()}.json"
