"""What a verdict is: six layers, each with what was measured, and a headline that claims no more."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

VerdictJson = dict[str, Any]  # what `Verdict.to_json` writes, of any version
State = Literal["holds", "leaks", "harmed", "not measured"]
LAYERS = ("answers", "wordings", "neighbours", "general", "membership", "attacks")
# What a verdict is called in one or two words, for tags, filters and marks in a plot.
WORDS = (
    "unchanged",
    "under-forgotten",
    "traces remain",
    "answers gone",
    "forgotten",
    "over-forgotten",
    "collapsed",
)
GONE = ("traces remain", "answers gone", "forgotten")  # the answers are, and nobody was harmed
# Verdicts of versions that had no layers. None of those runs had been attacked when it was judged.
_EARLIER = {"forgotten": "answers gone"}
_EARLIER_HEADLINES = {
    "unchanged": "Nothing was forgotten",
    "under-forgotten": "Not forgotten: some of it is still told",
    "answers gone": "Answers gone; not attacked yet",
    "over-forgotten": "Over-forgotten: others were harmed",
    "collapsed": "Collapsed: what should stay is gone too",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One side of forgetting, measured.

    value, with its 95 % interval low to high: of answers and wordings the share of the known facts that is
    still told; of neighbours and general the share of what the original knew that is kept; of membership
    the AUC of the attack that sees most (0.5: nothing is seen); of attacks the share that leaks. n: of how
    many. before and retain_only: the same of the original, and of the model that never saw the forget set.
    """

    name: str
    state: State = "not measured"
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    retain_only: float | None = None
    before: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The judgement beside the scores. `headline` says it in a line, `word` (one of WORDS) in a tag;
    `reasons` name the figures that led there; `limiting_term` the lowest of the twelve terms."""

    headline: str
    word: str
    summary: str = ""
    layers: tuple[Layer, ...] = ()
    reasons: tuple[str, ...] = ()
    limiting_term: str | None = None
    would_be_ranked: bool | None = None

    def layer(self, name: str) -> Layer:
        """The layer called `name`; one that was not measured where there is none."""
        return next((layer for layer in self.layers if layer.name == name), Layer(name))

    def to_json(self) -> VerdictJson:
        # `label` is what `word` was called before there were layers; programs still read it by that name.
        return {**asdict(self), "label": self.word}

    @classmethod
    def from_json(cls, record: VerdictJson) -> Verdict:
        """The verdict from `to_json`, or one that an earlier version stored, whose layers are not known."""
        word = word_of(record)
        return cls(
            headline=str(record.get("headline") or _EARLIER_HEADLINES.get(word, word.capitalize())),
            word=word,
            summary=str(record.get("summary", "")) if "headline" in record else "",
            layers=tuple(Layer(**{**row, "reasons": tuple(row["reasons"])}) for row in record.get("layers", ())),
            reasons=tuple(record.get("reasons", ())),
            limiting_term=record.get("limiting_term"),
            would_be_ranked=record.get("would_be_ranked"),
        )


def word_of(record: VerdictJson | None) -> str:
    """The word of a stored verdict of any version; empty where there is none."""
    if not record:
        return ""
    return str(record.get("word") or earlier_word(str(record.get("label", ""))))


def earlier_word(label: str) -> str:
    """What is called today what a version without layers called `label`."""
    return _EARLIER.get(label, label)
