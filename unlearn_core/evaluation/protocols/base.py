"""What every benchmark is: rows in, per-row values of one model, terms out of them, and what is made of those.

    measure   model + rows            -> RowLog     (the only step that needs the model)
    score     RowLog (+ a reference's) -> Result     (terms and aggregate; the same for a stored log)

A protocol is one class in one file; a term is data. Tables, cards and comparisons loop over terms and know
no benchmark.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import harmonic_mean
from typing import TYPE_CHECKING, Any, ClassVar

from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError
from unlearn_core.evaluation.progress import Progress
from unlearn_core.evaluation.protocols.terms.row_log import RowLog
from unlearn_core.system.files import finite

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OWN, OPEN_UNLEARNING = "lethe", "open-unlearning"  # by whose conventions a protocol is scored


@dataclass(frozen=True, slots=True)
class Term:
    """One figure of a benchmark. `value` is None where it could not be measured, for the reason in `note`.

    `higher_is_better` is None where the best value is the one of the model that never saw the forget set.
    `total`: it sums the model up, so that lists of runs show it; `formula` and `caution` are said beside it.
    """

    name: str
    title: str
    split: str
    value: float | None
    n: int  # rows behind it
    higher_is_better: bool | None
    note: str = ""
    total: bool = False
    formula: str = ""
    caution: str = ""


@dataclass(frozen=True)
class Result:
    """The terms of one model and what the benchmark makes of them; `notes` say what to know when reading it.

    `made_of`: the names of the terms whose harmonic mean the total called `mean` is. `counts_gone`: that mean counts a
    term for which lower is better as 1 minus its value, and so do tables.
    """

    protocol: str
    terms: tuple[Term, ...]
    aggregate: Mapping[str, object]
    notes: tuple[str, ...] = ()
    conventions: str = OWN
    made_of: tuple[str, ...] = ()
    mean: str = ""
    counts_gone: bool = False
    rows: RowLog | None = field(default=None, compare=False)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready mapping. What is made of the terms also stands at its top, under its own name; `rows`
        are what a later run may be compared with."""
        record: dict[str, Any] = finite(asdict(replace(self, rows=None)))
        del record["rows"]
        record |= {name: value for name, value in record["aggregate"].items() if name not in record}
        return record if self.rows is None else record | {"rows": self.rows.to_json()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Result:
        """The result of a record, without the rows."""
        return cls(
            record["protocol"],
            tuple(Term(**term) for term in record["terms"]),
            record["aggregate"],
            tuple(record.get("notes", ())),
            record["conventions"],
            tuple(record.get("made_of", ())),
            str(record.get("mean", "")),
            bool(record.get("counts_gone")),
        )

    @property
    def totals(self) -> tuple[Term, ...]:
        """The terms that sum the model up."""
        return tuple(term for term in self.terms if term.total)

    @property
    def mean_term(self) -> Term | None:
        """The total that is the harmonic mean."""
        return next((term for term in self.totals if term.name == self.mean), None)

    def counted(self, term: Term) -> float | None:
        """A term's value as tables have it: what is gone, where the mean counts it so."""
        gone = self.counts_gone and term.higher_is_better is False and term.value is not None
        return 1 - term.value if gone and term.value is not None else term.value

    def limiting(self) -> Term | None:
        """The term that holds the harmonic mean down; None where there is no mean or all are at 1."""
        if self.mean_term is None or self.mean_term.value is None:
            return None
        known = [(value, term) for term in self._means() if (value := self.counted(term)) is not None]
        lowest = min(known, key=lambda pair: pair[0], default=None)
        return None if lowest is None or lowest[0] >= 1.0 else lowest[1]

    def without_limit(self) -> float | None:
        """The harmonic mean of the other terms; None for fewer than two."""
        values = sorted(max(value, 0.0) for term in self._means() if (value := self.counted(term)) is not None)
        return float(harmonic_mean(values[1:])) if len(values) > 1 else None

    def _means(self) -> list[Term]:
        return [term for term in self.terms if term.name in self.made_of]


@dataclass(frozen=True, slots=True)
class ReferenceLine:
    """A published result: model, method and the values it was given, by term name."""

    model: str
    method: str
    split: str
    values: Mapping[str, float]
    source: str


class Protocol(ABC):
    """One benchmark."""

    name: ClassVar[str]
    title: ClassVar[str]
    source: ClassVar[str]
    conventions: ClassVar[tuple[str, ...]] = (OWN,)

    def convention(self, wanted: str | None) -> str:
        """The conventions to score by: `wanted`, or our own; InputError where the benchmark has no such."""
        if wanted is not None and wanted not in self.conventions:
            raise InputError(
                "--as", wanted, f"is not how {self.title} is scored", f"Use {', '.join(self.conventions)}."
            )
        return wanted or OWN

    @classmethod
    def fits(cls, data: UnlearningData) -> bool:
        """Whether the data holds the rows of this benchmark, so that a run on it is scored by it unasked."""
        return False

    def load(self, ref: str, columns: dict[str, str], retain: str | None) -> UnlearningData:
        """The rows that `ref` names, `retain` naming a separate retain set."""
        return load_data(ref, columns=columns, retain=retain)

    def prompt_format(self, asked: str, tokenizer: PreTrainedTokenizerBase) -> str:
        """The name of the prompt format to measure in; the benchmark's own where "auto" was asked for."""
        return asked

    @abstractmethod
    def measure(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        *,
        conventions: str = OWN,
    ) -> Generator[Progress, None, RowLog]:
        """Yield Progress; the return value holds the per-row values of this model."""

    @abstractmethod
    def score(self, log: RowLog, reference: RowLog | None = None, *, conventions: str = OWN) -> Result:
        """Terms and aggregate of a log. Where `reference` is None, what needs it has no value."""
