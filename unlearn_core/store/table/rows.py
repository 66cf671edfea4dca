"""Runs as short rows: what the table, the plots and the statistics need of a run, and how to ask for it.

A row holds a few numbers instead of the whole record, so that ten thousand runs stay quick to look through.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from unlearn_core.data.sources import UPLOAD
from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.semeval import listed_record
from unlearn_core.evaluation.verdict.types import word_of

if TYPE_CHECKING:
    from unlearn_core.evaluation.scores import ScoresJson
    from unlearn_core.evaluation.verdict.types import VerdictJson
    from unlearn_core.runs.spec import SpecJson

RecordJson = dict[str, Any]  # a `RunRecord` as `run.json` holds it, or the fields of it that change
SORTS = (
    "created",
    "name",
    "method",
    "status",
    "verdict",
    "forget",
    "retain",
    "seconds",
    "seed",
)
TOTAL_OF = "total:"  # before the name of a total to sort by
TOTAL = re.compile(rf"{TOTAL_OF}\w{{1,80}}", re.ASCII)
PAGE = 25
MAX_PAGE = 1000
MAX_OFFSET = 10**9
_NOT_SETUP = ("seed", "name", "save")  # what may differ between runs that are repetitions of each other


@dataclass(frozen=True)
class RunRow:
    """One run, in short. Scores are those of the unlearned model; None where it was not scored.

    `forget` is the mean of its forget terms as the aggregate counts them (1 minus the value), `retain`
    that of the retain terms, `neighbours` the share kept of what the original told of others.
    Runs of one `ground` (original model and data) can be compared; runs of one `setup` differ in their seed only.
    """

    id: str
    created: float
    status: str
    name: str
    tags: tuple[str, ...]
    method: str
    target: str
    data: str
    about: str  # what it forgets, in short
    seed: int
    verdict: str
    totals: dict[str, float | None]  # what sums the model up on its benchmark, by name
    titles: dict[str, str]  # what the totals are called
    forget: float | None
    retain: float | None
    neighbours: float | None
    seconds: float | None
    ground: str
    setup: str
    settings: dict[str, Any]  # the method's, with steps and adapter

    @classmethod
    def of(cls, record: RecordJson, labels: Mapping[str, Any]) -> RunRow:
        """The row of a run from its run.json and labels.json."""
        spec, scores = record["spec"], record.get("scores", {}).get("unlearned", {})
        totals = listed_record(scores).totals if scores else ()
        terms = scores.get("aggregated_terms") or []
        seed = int(spec.get("seed", 0))
        if abs(seed) >= 2**63:
            raise ValueError("the seed is none")
        settings = {**spec.get("settings", {}), "steps": spec.get("steps"), "adapter": spec.get("adapter")}
        return cls(
            id=str(record["id"]),
            created=float(record["created"]),
            status=str(record["status"]),
            name=str(labels.get("name") or spec.get("name") or spec.get("method", "")),
            tags=tuple(labels.get("tags", ())),
            method=str(spec.get("method", "")),
            target=str(spec.get("target", "")),
            data=str(spec.get("data", "")),
            about=about_of(spec),
            seed=seed,
            verdict=word_of(record.get("verdict")),
            totals={term.name: _number(term.value) for term in totals},
            titles={term.name: term.title for term in totals},
            forget=_mean(terms[: len(terms) // 2]),
            retain=_mean(terms[len(terms) // 2 :]),
            neighbours=_kept(record.get("verdict") or {}),
            seconds=sum(record["seconds"].values()) if record.get("seconds") else None,
            ground=ground_of(record.get("scores", {})),
            setup=setup_of(spec),
            settings=settings,
        )

    @property
    def utility(self) -> float | None:
        """What the model can still do besides, where its benchmark has a total for it."""
        return next((value for name, value in self.totals.items() if name.endswith("utility")), None)

    @property
    def summed_up(self) -> tuple[str, float | None]:
        """Title and value of the total that the others lead up to; nothing for a run that was not scored."""
        return next(((self.titles[name], value) for name, value in reversed(self.totals.items())), ("", None))


STATUSES = ("queued", "running", "finished", "failed", "cancelled", "interrupted")
DAMAGED = "damaged"  # where a run's record cannot be read


def checked_record(record: object, run_id: str) -> RecordJson:
    """What the run.json of a run holds, if every field is of its kind; ValueError otherwise."""
    if not isinstance(record, dict):
        raise ValueError("not an object")
    for name, kinds in _KINDS.items():
        value = record.get(name, kinds[0]())
        if not isinstance(value, kinds) or (isinstance(value, float | int) and not abs(value) < 2**53):
            raise ValueError(f"{name} is none")
    if record.get("id") != run_id or "spec" not in record or record.get("status") not in STATUSES:
        raise ValueError("not the record of this run")
    if not isinstance(record.get("created"), float | int) or record["created"] < 0:
        raise ValueError("created is no time")
    for inner in (*record.get("scores", {}).values(), *record.get("costs", {}).values()):
        if not isinstance(inner, dict):
            raise ValueError("a score is none")
    try:
        RunRow.of(record, {})
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return record


_OPTIONAL = type(None)
_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("id", "status", "owner", "message", "artifact"), (str,)),
    **dict.fromkeys(("spec", "process", "scores", "seconds", "costs"), (dict,)),
    **dict.fromkeys(("verdict", "kept"), (dict, _OPTIONAL)),
    **dict.fromkeys(("created",), (float, int)),
    **dict.fromkeys(("started", "ended"), (float, int, _OPTIONAL)),
    **dict.fromkeys(("num_steps", "version"), (int,)),
}

_WORDS = ("text", "method", "status", "verdict", "tag", "ground", "setup")


@dataclass(frozen=True)
class RunQuery:
    """Which runs, in which order, and which page of them. Empty fields let everything through.

    text: words that each occur in name, tags, method, target or data; `called` has titles of methods and targets, by
    name, in which they are looked for too. owner: a hash, None for everybody's, "" for none; the recorded runs are
    everybody's, and made_here leaves them out.
    """

    text: str = ""
    called: Mapping[str, str] = field(default_factory=dict, hash=False)
    method: str = ""
    status: str = ""
    verdict: str = ""
    tag: str = ""
    ground: str = ""
    setup: str = ""
    owner: str | None = None
    made_here: bool = False
    ids: tuple[str, ...] = field(default=())
    sort: str = "created"
    descending: bool = True
    offset: int = 0
    limit: int = PAGE

    def __post_init__(self) -> None:
        for name in _WORDS:
            if not isinstance(getattr(self, name), str):
                raise InputError(name, getattr(self, name), "is not text", "Leave it empty for all runs.")
        if self.sort not in SORTS and not TOTAL.fullmatch(self.sort):
            raise InputError("sort", self.sort, "is not a column", f"Use one of {', '.join(SORTS)}, or {TOTAL_OF}NAME.")
        if not 1 <= self.limit <= MAX_PAGE:
            raise InputError("limit", self.limit, "is out of range", f"Use 1 to {MAX_PAGE}.")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise InputError("offset", self.offset, "is out of range", "Use 0 for the first page.")


def setup_of(spec: SpecJson) -> str:
    """A short hash of everything in a spec but its seed and name."""
    plain = {key: value for key, value in spec.items() if key not in _NOT_SETUP}
    for name, usual in (("keep_best", False), ("prompt", "raw")):  # as in runs from before there was a choice
        if plain.get(name) == usual:
            del plain[name]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def about_of(spec: SpecJson) -> str:
    """What a run forgets, in short: its subject, the first of facts that were typed, or what its data is called; the
    name of the run where that is a file among the uploads."""
    data = str(spec.get("data", ""))
    if spec.get("subject"):
        return str(spec["subject"])
    if data.startswith(UPLOAD):
        return str(spec.get("name") or "an uploaded file")
    typed = data.removeprefix("facts:")
    facts = [line.partition("=>")[0].strip() for line in typed.splitlines() if line.strip() and line.strip()[0] != "#"]
    if typed == data or not facts:
        return data
    return facts[0] if len(facts) == 1 else f"{facts[0]} and {len(facts) - 1} more"


def ground_of(scores: ScoresJson) -> str:
    """What the runs that can be compared have in common: the original model's weights, the data, and how
    prompts are put to it."""
    original = scores.get("original")
    if not original:
        return ""
    facts = (str(original.get(name) or "")[:16] for name in ("weights_hash", "data_fingerprint", "prompt"))
    return ":".join(facts).removesuffix(":")  # raw, the usual way, is not named


def _number(value: object) -> float | None:
    if value is None or isinstance(value, float | int):
        return None if value is None else float(value)
    raise ValueError("a score is no number")


def _kept(verdict: VerdictJson) -> float | None:
    """The value of the neighbours layer; None for verdicts without layers."""
    return next((_number(layer["value"]) for layer in verdict.get("layers", ()) if layer["name"] == "neighbours"), None)


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
