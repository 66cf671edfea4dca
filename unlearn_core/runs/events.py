"""What happens to a run and in the audits of it, as small frozen records that survive JSON.

`run(spec)` and `run_audits(run)` yield them; the store appends them to `events.jsonl`; the page, the command line and
a notebook read the same stream. What they come to together is a `runs.state.RunState`, and nothing else folds them.
`to_json` and `from_json` are inverse to each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from unlearn_core.errors import Action
from unlearn_core.evaluation.audit_result import AuditResult
from unlearn_core.system.files import finite
from unlearn_core.training.records import (
    BestKept,
    CanaryAlert,
    FactAnswers,
    FactProbe,
    SubjectsAsked,
    Warned,
    WatchedFact,
)

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.evaluation.verdict.types import VerdictJson
    from unlearn_core.runs.planning.costs import CostJson
    from unlearn_core.runs.spec import SpecJson

SaidJson = dict[str, Any]  # what a model says to one prompt of a subject's sheet (see `runs.subject.answers`)


@dataclass(frozen=True, slots=True)
class RunStarted:
    """First event: the spec as it will be carried out, and the stages to expect, in order."""

    spec: SpecJson
    stages: tuple[str, ...]
    num_steps: int
    device: str
    forget_rises: bool = True  # which way the forget loss of this method goes when all is well
    recovers_by: float = 0.0  # share of the steps until which a low canary is no cause for warning
    weights_hash: str = ""
    data_fingerprint: str = ""
    versions: dict[str, str] = field(default_factory=dict)  # of Lethe, Python and the libraries that compute


@dataclass(frozen=True, slots=True)
class SubjectFound:
    """What the model knows of the subject, asked before anything is changed (see `data.subject_sheet`), and the name
    under which it is kept as the run's data."""

    sheet: dict[str, Any]
    data: str


@dataclass(frozen=True, slots=True)
class SubjectAnswers:
    """What a model says to the sheet's prompts and to those about neighbours, each in the sheet's order."""

    model: str  # original | unlearned
    prompts: list[SaidJson]
    neighbours: list[SaidJson]


@dataclass(frozen=True, slots=True)
class PromptChosen:
    """How prompts are put to the model in this run: the format's name, what it does, and a prompt in it."""

    name: str
    message: str
    sample: str


@dataclass(frozen=True, slots=True)
class StageProgress:
    """`done` of `total` units of one stage; `seconds_left` covers the whole run where known."""

    stage: str
    done: int
    total: int
    message: str = ""
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One optimiser step. Losses are in the method's own units; `tokens_per_second` counts real tokens."""

    step: int
    num_steps: int
    losses: dict[str, float]  # at least "total"; "forget" and "retain" where the method has them
    learning_rate: float
    gradient_norm: float
    tokens_per_second: float
    seconds: float  # since the first step began
    seconds_left: float | None = None
    memory: int | None = None  # bytes: at the peak on a GPU, otherwise resident now


@dataclass(frozen=True, slots=True)
class Score:
    """A full score of one model: "original", "unlearned" or "retain_only". See evaluation.scores."""

    model: str
    scores: ScoresJson
    cached: bool = False


@dataclass(frozen=True, slots=True)
class PlacedSubject:
    """A subject on the map. x, y: 0 to 1. question: what may be asked about it. ids: its rows in its split."""

    name: str
    split: str  # "forget", "retain", "neighbours" or "holdout"
    x: float
    y: float
    question: str
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubjectsPlaced:
    """Where the original's hidden states put the subjects (see `evaluation.neighbourhood`)."""

    subjects: tuple[PlacedSubject, ...]
    layer: int
    num_layers: int
    spread: float


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What the run will take (see runs.planning.costs.Cost), said before the work begins."""

    cost: CostJson


@dataclass(frozen=True, slots=True)
class Finished:
    """Last event of a run that reached its verdict; `seconds` maps stage to duration."""

    verdict: VerdictJson
    seconds: dict[str, float]
    artifact: str = ""  # folder of the saved weights, relative to the run's folder
    changed: dict[str, Any] = field(default_factory=dict)  # what the method changed, for people
    cost: CostJson = field(default_factory=dict)  # what the run took (see runs.planning.costs.Cost)


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict of a finished run changed, because it was attacked since."""

    verdict: VerdictJson


@dataclass(frozen=True, slots=True)
class Failed:
    """Last event of a run that could not go on; the message is fit for the user."""

    message: str
    kind: str = "error"  # error | diverged | out_of_memory | disk_full | interrupted
    action: Action | None = None  # what a page can do to mend it


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Last event of a run its owner stopped."""

    step: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """An interrupted run waits to go on after `step`; steps after it that were seen before come again."""

    step: int = 0


@dataclass(frozen=True, slots=True)
class AuditsQueued:
    """Audits of the run are wanted. created: seconds since 1970. process: which one answers for them."""

    created: float
    budget_seconds: float | None
    process: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditsPlanned:
    """First event of audits: what will be done, with the estimated seconds of each, and what will not, with why."""

    audits: dict[str, float]
    skipped: dict[str, str]
    budget_seconds: float | None
    weights_hash: str


@dataclass(frozen=True, slots=True)
class AuditProgress:
    """`fraction` (0..1) of one audit; `seconds_left` covers all that are planned."""

    name: str
    fraction: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class AuditDone:
    """One audit reached its verdict."""

    result: AuditResult


@dataclass(frozen=True, slots=True)
class AuditSkipped:
    """A planned audit was left out, because those before it took longer than estimated."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class AuditsFinished:
    """Last event of audits that were not stopped."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AuditsStopped:
    """Last event of audits that were; what they found until then counts. The run itself is what it was."""

    status: str  # cancelled | failed | interrupted
    message: str = ""
    seconds: float = 0.0  # since they were queued


Event = (
    RunStarted
    | PromptChosen
    | SubjectFound
    | SubjectAnswers
    | SubjectsPlaced
    | CostEstimate
    | StageProgress
    | Step
    | FactProbe
    | FactAnswers
    | SubjectsAsked
    | CanaryAlert
    | BestKept
    | Score
    | Warned
    | Resumed
    | Finished
    | Judged
    | Failed
    | Cancelled
)
AuditLogged = (
    AuditsQueued | AuditsPlanned | AuditProgress | AuditDone | AuditSkipped | AuditsFinished | AuditsStopped
)  # what else a run's log holds
Logged = Event | AuditLogged
_KINDS: dict[str, type[Logged]] = {kind.__name__: kind for kind in (*get_args(Event), *get_args(AuditLogged))}
TERMINAL = (Finished, Failed, Cancelled)
INTERRUPTING = ("interrupted", "disk_full")  # kinds of Failed after which a run can be resumed


def to_json(event: Logged) -> dict[str, Any]:
    """A JSON-ready mapping; numbers that are not finite become null, because JSON has no NaN."""
    return {"event": type(event).__name__, **finite(asdict(event))}


def from_json(record: dict[str, Any]) -> Logged:
    """The event a mapping from `to_json` came from."""
    fields = dict(record)
    kind = _KINDS[fields.pop("event")]
    if kind is FactProbe:
        fields["facts"] = tuple(map(_fact, fields["facts"]))
    if kind is FactAnswers:
        fields["answers"] = tuple(fields["answers"])
    if kind is SubjectsPlaced:
        fields["subjects"] = tuple(PlacedSubject(**{**row, "ids": tuple(row["ids"])}) for row in fields["subjects"])
    if kind is Failed and fields.get("action"):
        fields["action"] = tuple(fields["action"])
    if kind is RunStarted:
        fields["stages"] = tuple(fields["stages"])
    if kind is AuditDone:
        fields["result"] = AuditResult.from_json(fields["result"])
    event: Logged = kind(**fields)
    return event


def _fact(record: dict[str, Any]) -> WatchedFact:
    """A watched fact; what earlier versions called its probability was the mean per token."""
    if "per_token" not in record:
        record = {**record, "probability": None, "per_token": record["probability"]}
    return WatchedFact(**{**record, "pieces": tuple((text, chance) for text, chance in record.get("pieces", ()))})
