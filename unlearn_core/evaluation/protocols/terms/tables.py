"""Terms as a table: a protocol lists its measures, and one function turns a log into terms.

Names are open-unlearning's, so that a term, its row in a log and its published figure share one name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from unlearn_core.evaluation.protocols.base import Term
from unlearn_core.evaluation.protocols.terms import aggregates
from unlearn_core.evaluation.protocols.terms.row_log import RowLog

# What an attack's AUC is read against: the model that never saw the forget set, not .5 (PROTOCOL of TOFU).
ATTACKS = {
    "mia_loss": "Loss attack, AUC",
    "mia_zlib": "Loss over compressed size, AUC",
    "mia_min_k": "Min-40%, AUC",
    "mia_min_k_plus_plus": "Min-40%++, AUC",
    "mia_gradnorm": "Gradient norm, AUC",
    "mia_reference": "Loss minus the reference model's, AUC",
}


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean of one column of per-row values."""

    name: str
    title: str
    split: str
    key: str
    higher_is_better: bool | None = False
    stem: bool = True  # ROUGE on stems of words, as open-unlearning has it

    def term(self, log: RowLog) -> Term:
        if self.key.startswith("rouge"):
            values = aggregates.rouge_values(log.rows.get(self.name, {}).values(), self.key, stem=self.stem)
        else:
            values = log.values(self.name, self.key)
        return Term(self.name, self.title, self.split, aggregates.mean(values), len(values), self.higher_is_better)


@dataclass(frozen=True, slots=True)
class TruthRatio:
    """TOFU's truth ratio from the losses of right and wrong answers; the stored ratios where those are not there."""

    name: str
    title: str
    split: str
    right: str
    wrong: str
    aggregate: Callable[[Sequence[float]], float | None]
    higher_is_better: bool | None = None

    def ratios(self, log: RowLog) -> list[float]:
        """Per row, wrong over right (geometric mean of the wrong answers)."""
        right, wrong = log.pairs(self.right, self.wrong, "avg_loss")
        return aggregates.truth_ratios(right, wrong) if right else log.values(self.name, "score")

    def term(self, log: RowLog) -> Term:
        found = self.ratios(log)
        return Term(self.name, self.title, self.split, self.aggregate(found), len(found), self.higher_is_better)


@dataclass(frozen=True, slots=True)
class RelativeProbability:
    """The right answer's share of the probability of right and wrong answers."""

    name: str
    title: str
    split: str
    right: str
    wrong: str
    higher_is_better: bool | None = True

    def term(self, log: RowLog) -> Term:
        right, wrong = log.pairs(self.right, self.wrong, "prob")
        found = aggregates.relative_probabilities(right, wrong) if right else log.values(self.name, "prob")
        return Term(self.name, self.title, self.split, aggregates.mean(found), len(found), self.higher_is_better)


@dataclass(frozen=True, slots=True)
class MembershipAuc:
    """The AUC of a membership score between forget and held-out rows."""

    name: str
    title: str
    split: str = "forget"

    def term(self, log: RowLog) -> Term:
        forget, holdout = log.side(self.name, "forget"), log.side(self.name, "holdout")
        area = aggregates.holdout_auc(forget, holdout)
        return Term(self.name, self.title, self.split, area, len(forget) + len(holdout), None)


Measure = Mean | TruthRatio | RelativeProbability | MembershipAuc


def attacks() -> tuple[MembershipAuc, ...]:
    return tuple(MembershipAuc(name, title) for name, title in ATTACKS.items())


def terms_of(log: RowLog, measures: Iterable[Measure]) -> list[Term]:
    """The terms a log has rows for, in the order of the table; then means of measures the table does not know."""
    known = list(measures)
    found = [term for term in (measure.term(log) for measure in known) if term.n]
    names = {measure.name for measure in known}
    for name in log.rows:
        key = next((key for key in ("score", "prob") if log.values(name, key)), None)
        if name not in names and key is not None:
            values = log.values(name, key)
            found.append(Term(name, name.replace("_", " "), "", aggregates.mean(values), len(values), None))
    for name in log.sides:
        if name not in names:
            found.append(MembershipAuc(name, name.replace("_", " ")).term(log))
    return found


def side_means(log: RowLog) -> dict[str, float | None]:
    """The mean score of each side of each attack, as "mia_loss/forget"."""
    return {
        f"{attack}/{side}": aggregates.side_mean(attack, log.side(attack, side))
        for attack, sides in log.sides.items()
        for side in sides
    }


def value_of(terms: Iterable[Term], name: str) -> float | None:
    return next((term.value for term in terms if term.name == name), None)


def privleak_term(log: RowLog, reference: RowLog | None) -> Term | None:
    """privleak by the min-40% attack, against the reference's AUC or, without one, against .5."""
    own = MembershipAuc("mia_min_k", "").term(log)
    if own.value is None:
        return None
    area = None if reference is None else MembershipAuc("mia_min_k", "").term(reference).value
    note = "" if area is not None else NO_REFERENCE_AUC
    value = aggregates.privacy_leak(own.value, 0.5 if area is None else area)
    return Term(
        "privleak",
        "Privacy leak (0 = as the retain model)",
        "forget",
        value,
        own.n,
        None,
        note,
        total=True,
        formula="100 ((1 - AUC) - (1 - AUC of the retain model)) / (1 - AUC of the retain model), AUC of min-40%",
        caution="Below 0: still recognised as trained on, down to -100. Above 0: pushed further than a model that "
        "never saw it.",
    )


NO_REFERENCE_AUC = (
    "No retain model was given, so this is read against an AUC of .5; a retain model itself shows +20 or more there."
)
