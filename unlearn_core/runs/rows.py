"""Runs as short rows: what the table, the plots and the statistics need of a run, and how to ask for it.

A row holds a few numbers instead of the whole record, so that ten thousand runs stay quick to look through.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unlearn_core.errors import InputError

SORTS = (
    "created", "name", "method", "status", "verdict", "final", "aggregate", "membership", "utility",
    "forget", "retain", "seconds", "seed",
)  # fmt: skip
PAGE = 25
MAX_PAGE = 1000
MAX_OFFSET = 10**9
_NOT_SETUP = ("seed", "name", "save")  # what may differ between runs that are repetitions of each other


@dataclass(frozen=True)
class RunRow:
    """One run, in short. Scores are those of the unlearned model; None where it was not scored.

    `forget` is the mean of its six forget terms as the aggregate counts them (1 minus the value), `retain`
    that of the six retain terms. Runs of one `ground` (original model and data) can be compared; runs of
    one `setup` differ in their seed only.
    """

    id: str
    created: float
    status: str
    name: str
    tags: tuple[str, ...]
    method: str
    target: str
    data: str
    seed: int
    verdict: str
    final: float | None
    aggregate: float | None
    membership: float | None
    utility: float | None
    forget: float | None
    retain: float | None
    seconds: float | None
    ground: str
    setup: str
    settings: dict[str, Any]  # the method's, with steps and adapter

    @classmethod
    def of(cls, record: Mapping[str, Any], labels: Mapping[str, Any]) -> RunRow:
        """The row of a run from its run.json and labels.json."""
        spec, scores = record["spec"], record.get("scores", {}).get("unlearned", {})
        final = scores.get("final_score")
        terms = scores.get("aggregated_terms") or []
        settings = {**spec.get("settings", {}), "steps": spec.get("steps"), "adapter": spec.get("adapter")}
        return cls(
            id=str(record["id"]), created=float(record["created"]), status=str(record["status"]),
            name=str(labels.get("name") or spec.get("name") or spec.get("method", "")),
            tags=tuple(labels.get("tags", ())), method=str(spec.get("method", "")),
            target=str(spec.get("target", "")), data=str(spec.get("data", "")), seed=int(spec.get("seed", 0)),
            verdict=str((record.get("verdict") or {}).get("label", "")),
            final=None if final == -1 else final,  # the official rule writes -1 where a part is missing
            aggregate=scores.get("task_aggregate"), membership=scores.get("mia_score"),
            utility=scores.get("utility"), forget=_mean(terms[:6]), retain=_mean(terms[6:]),
            seconds=sum(record["seconds"].values()) if record.get("seconds") else None,
            ground=ground_of(record.get("scores", {})), setup=setup_of(spec), settings=settings,
        )  # fmt: skip


_WORDS = ("text", "method", "status", "verdict", "tag", "ground", "setup")


@dataclass(frozen=True)
class RunQuery:
    """Which runs, in which order, and which page of them. Empty fields let everything through.

    text: words that each occur in name, tags, method, target or data. owner: a hash, None for everybody's,
    "" for none.
    """

    text: str = ""
    method: str = ""
    status: str = ""
    verdict: str = ""
    tag: str = ""
    ground: str = ""
    setup: str = ""
    owner: str | None = None
    ids: tuple[str, ...] = field(default=())
    sort: str = "created"
    descending: bool = True
    offset: int = 0
    limit: int = PAGE

    def __post_init__(self) -> None:
        for name in _WORDS:
            if not isinstance(getattr(self, name), str):
                raise InputError(name, getattr(self, name), "is not text", "Leave it empty for all runs.")
        if self.sort not in SORTS:
            raise InputError("sort", self.sort, "is not a column", f"Use one of {', '.join(SORTS)}.")
        if not 1 <= self.limit <= MAX_PAGE:
            raise InputError("limit", self.limit, "is out of range", f"Use 1 to {MAX_PAGE}.")
        if not 0 <= self.offset <= MAX_OFFSET:
            raise InputError("offset", self.offset, "is out of range", "Use 0 for the first page.")


def setup_of(spec: Mapping[str, Any]) -> str:
    """A short hash of everything in a spec but its seed and name."""
    plain = {key: value for key, value in spec.items() if key not in _NOT_SETUP}
    if not plain.get("keep_best"):  # as in runs from before there was a choice
        plain.pop("keep_best", None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


def ground_of(scores: Mapping[str, Any]) -> str:
    """What the runs that can be compared have in common: the original model's weights and the data."""
    original = scores.get("original")
    if not original:
        return ""
    return f"{str(original.get('weights_hash', ''))[:16]}:{str(original.get('data_fingerprint', ''))[:16]}"


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
