"""The judgement beside the score: what happened to the model, said in one word and with the figures.

The official score rewards wiping a model (PROTOCOL: the nine best of 153 published runs are wrecks), so
the verdict looks at each side apart: is the forget set gone, is the retain set still there, is it
still a working language model?

    collapsed         the retain set, the utility or the language itself is gone
    unchanged         nothing moved
    under-forgotten   some of the forget set is still there
    over-forgotten    the forget set is gone, with some of what should stay, or conspicuously so
    forgotten         the forget set is gone and the rest is there
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unlearn_core.evaluation import semeval
from unlearn_core.evaluation.scores import TERM_NAMES, Scores, Verdict

LABELS = ("unchanged", "under-forgotten", "forgotten", "over-forgotten", "collapsed")

# All shares are of what the original model had; a term's floor is what a model that never saw it scores.
COLLAPSED_BELOW = 0.5  # retained share of answers, or of the utility above chance
COLLAPSED_COMPLETIONS = 0.25  # retained share of completions: word for word is more than knowing
DAMAGED_BELOW = 0.85
KNOWLEDGE_LEFT = 0.2  # share of a forget term that may remain
REGURGITATION_LEFT = 0.25
UNCHANGED_WITHIN = 0.1
_SOMETHING = 0.05  # what the original must score above the floor for a term to say anything
DEGENERATE_MORE = 0.4  # share of retain answers that stopped being language
AUC_BAND = (0.25, 0.75)  # outside it the MIA score is below one half
UNSEEN_RISE = math.log(2)  # nats per token: never-seen text at twice the perplexity


@dataclass(frozen=True)
class Evidence:
    """What a verdict is drawn from. Terms are plain metric means by name; `original` those before, `floor`
    what a model that never saw the forget set scores. Parts that were not measured are None."""

    terms: Mapping[str, float | None]
    original: Mapping[str, float | None]
    floor: Mapping[str, float]
    auc: float | None = None
    auc_original: float | None = None
    auc_interval: tuple[float, float] | None = None
    unseen_nll: float | None = None  # of text neither trained on nor asked about, nats per token
    unseen_nll_original: float | None = None
    utility: float | None = None
    utility_original: float | None = None
    utility_signal: bool = False  # whether the original's utility lies above chance
    utility_cut: float | None = None  # below it a submission is not ranked
    chance: float = 0.25
    degenerate: float | None = None  # share of retain answers that are not language
    degenerate_original: float = 0.0
    paraphrases: float | None = None  # forget facts still told when asked in another phrasing
    paraphrases_original: float | None = None
    aggregated: list[float | None] = field(default_factory=list)
    same_weights: bool = False  # a method that stands before the model and leaves it as it was


def verdict(original: Scores, unlearned: Scores, retain_only: Scores | None = None) -> Verdict:
    """Judge `unlearned` against `original`; `retain_only` gives the floor of the forget terms."""
    floor = never_trained_floors(unlearned.details.get("rouge_floors"))
    if retain_only is not None:
        floor |= {name: v for name, v in retain_only.terms.items() if v is not None and _of(name, "forget")}
    utility = original.details.get("utility", {})
    limit = None if original.utility is None else semeval.RANKING_SHARE * original.utility
    evidence = Evidence(
        same_weights=bool(original.weights_hash) and original.weights_hash == unlearned.weights_hash,
        terms=unlearned.terms,
        original=original.terms,
        floor=floor,
        auc=unlearned.mia_auc,
        auc_original=original.mia_auc,
        auc_interval=_pair(unlearned.details.get("auc_interval")),
        unseen_nll=unseen_nll(unlearned),
        unseen_nll_original=unseen_nll(original),
        utility=unlearned.utility,
        utility_original=original.utility,
        utility_signal=bool(utility.get("signal", False)),
        utility_cut=limit,
        degenerate=_degenerate(unlearned),
        degenerate_original=_degenerate(original) or 0.0,
        paraphrases=unlearned.details.get("paraphrases", {}).get("forget"),
        paraphrases_original=original.details.get("paraphrases", {}).get("forget"),
        aggregated=unlearned.aggregated_terms,
    )
    return judge(evidence)


def judge(evidence: Evidence) -> Verdict:
    """The verdict on `evidence`: the first label whose reasons apply, the worst first."""
    wreck, leaks, damage = _wreck(evidence), _leaks(evidence), _damage(evidence)
    if wreck:
        label, reasons = "collapsed", wreck
    elif not _was_known(evidence):
        label, reasons = "unchanged", ["The original model did not know the forget set: nothing to forget"]
    elif leaks and _is_unchanged(evidence):
        label, reasons = "unchanged", _figures(evidence)
    elif leaks:
        label, reasons = "under-forgotten", leaks + damage
    elif damage:
        label, reasons = "over-forgotten", damage
    else:
        label, reasons = "forgotten", _figures(evidence)
    ranked = None
    if evidence.utility is not None and evidence.utility_cut is not None:
        ranked = evidence.utility >= evidence.utility_cut
    reasons += _notes(evidence, ranked)
    return Verdict(
        label=label,
        summary=_SUMMARIES[label] + (NO_WEIGHT if evidence.same_weights else ""),
        reasons=tuple(reasons),
        limiting_term=semeval.limiting_term(evidence.aggregated),
        would_be_ranked=ranked,
    )


_SUMMARIES = {
    "unchanged": "Nothing was forgotten: the model answers as it did before.",
    "under-forgotten": "Part of the forget set is still in the model.",
    "forgotten": "The forget set is gone and the rest is still there.",
    "over-forgotten": "The forget set is gone, but more went with it than should.",
    "collapsed": "The model is wrecked: it lost what it should keep, so its score means nothing.",
}

NO_WEIGHT = " No weight was changed: whoever has the weights still has all of it."


def never_trained_floors(measured: Mapping[str, float] | None = None) -> dict[str, float]:
    """What the forget terms of a model that never saw the rows are: fluent text still shares some words.

    `measured`: by task, on the data at hand; LUME's where it was not measured."""
    by_task = semeval.ROUGE_FLOORS | dict(measured or {})
    floors = {f"forget/{task}/regurgitation": floor for task, floor in by_task.items()}
    return floors | {name: 0.0 for name in TERM_NAMES if _of(name, "forget", "knowledge")}


def _wreck(e: Evidence) -> list[str]:
    reasons = []
    for metric, what, share in (
        ("regurgitation", "Retain completions", COLLAPSED_COMPLETIONS),
        ("knowledge", "Retain answers", COLLAPSED_BELOW),
    ):
        reasons += _fall(e, metric, what, share)
    if e.degenerate is not None and e.degenerate - e.degenerate_original >= DEGENERATE_MORE:
        reasons.append(
            f"{_p(e.degenerate)} of its answers about the retain set are empty, loops or non-words"
        )
    if e.utility is not None and e.utility_original and e.utility_signal:
        lost = (e.utility_original - e.utility) / max(e.utility_original - e.chance, 1e-9)
        if lost > COLLAPSED_BELOW:
            reasons.append(
                f"Utility fell from {_n(e.utility_original)} to {_n(e.utility)}; chance is {e.chance}"
            )
    return reasons


def _leaks(e: Evidence) -> list[str]:
    reasons = []
    for name, before, now in _pairs(e, "forget"):
        floor = min(e.floor.get(name, 0.0), before)
        left = (now - floor) / max(before - floor, 1e-9)
        allowed = KNOWLEDGE_LEFT if name.endswith("knowledge") else REGURGITATION_LEFT
        if before - floor > _SOMETHING and left > allowed:
            reasons.append(f"{_title(name)}: {_n(now)} is left of {_n(before)} (never trained: {_n(floor)})")
    if e.paraphrases is not None and e.paraphrases_original:
        left = e.paraphrases / e.paraphrases_original
        if left > KNOWLEDGE_LEFT:
            reasons.append(f"Asked in other words, it still tells {_p(e.paraphrases)} of the forgotten facts")
    if e.auc is not None and e.auc > AUC_BAND[1] and (e.auc_original is None or e.auc_original > AUC_BAND[1]):
        reasons.append(f"Its losses still give the forgotten documents away: {_auc(e)}")
    return reasons


def _damage(e: Evidence) -> list[str]:
    reasons = []
    for metric, what in (("regurgitation", "Retain completions"), ("knowledge", "Retain answers")):
        reasons += _fall(e, metric, what, DAMAGED_BELOW)
    if e.utility is not None and e.utility_signal and e.utility_cut is not None and e.utility < e.utility_cut:
        reasons.append(f"Utility fell from {_n(e.utility_original)} to {_n(e.utility)}")
    if e.auc is not None and e.auc < AUC_BAND[0]:
        reasons.append(f"The forgotten documents are now less likely than never-seen ones: {_auc(e)}")
    if e.unseen_nll is not None and e.unseen_nll_original is not None:
        rise = e.unseen_nll - e.unseen_nll_original
        if rise > UNSEEN_RISE:
            reasons.append(
                f"Text it never saw became {math.exp(min(rise, 50)):.3g} times as perplexing: "
                f"{_n(e.unseen_nll)} nats per token, before {_n(e.unseen_nll_original)}"
            )
    return reasons


def unseen_nll(scores: Scores) -> float | None:
    """Mean loss (nats per token) of the documents the model never saw.

    Neither a score nor a membership attack sees it rise: both compare the forgotten with the unseen, and a
    model that lost its language on everything but the retain set passes them.
    """
    losses = scores.details.get("nonmember_losses")
    return statistics.fmean(losses) if losses else None


def _was_known(e: Evidence) -> bool:
    """Whether the original knew any of the forget set, so that there was something to forget."""
    return any(
        before - min(e.floor.get(name, 0.0), before) > _SOMETHING for name, before, _ in _pairs(e, "forget")
    )


def _notes(e: Evidence, ranked: bool | None) -> list[str]:
    """What the reader must know besides, whatever the label."""
    notes = []
    if not _pairs(e, "retain"):
        notes.append("There is no retain set, so what else was lost is not known")
    if ranked is False:
        notes.append(f"Would not be ranked: utility {_n(e.utility)} is below the cut of {_n(e.utility_cut)}")
    if e.utility is not None and e.utility_original is not None and not e.utility_signal:
        notes.append("Utility carries no signal here: the original model itself answers at chance")
    return notes


def _fall(e: Evidence, metric: str, what: str, share: float) -> list[str]:
    """The reason that a retain metric fell below `share` of what it was, if it did."""
    now, before = _mean(e.terms, "retain", metric), _mean(e.original, "retain", metric)
    fell = now is not None and bool(before) and now < share * (before or 0.0)
    return [f"{what} fell from {_n(before)} to {_n(now)}"] if fell else []


def _is_unchanged(e: Evidence) -> bool:
    moves = [abs(before - now) for split in ("forget", "retain") for _, before, now in _pairs(e, split)]
    if e.auc is not None and e.auc_original is not None:
        moves.append(abs(e.auc - e.auc_original))
    return bool(moves) and max(moves) <= UNCHANGED_WITHIN


def _figures(e: Evidence) -> list[str]:
    reasons = []
    for split, metric, what in (
        ("forget", "knowledge", "Forget questions answered"),
        ("forget", "regurgitation", "Forget texts completed"),
        ("retain", "knowledge", "Retain questions answered"),
        ("retain", "regurgitation", "Retain texts completed"),
    ):
        now, before = _mean(e.terms, split, metric), _mean(e.original, split, metric)
        if now is not None and before is not None:
            reasons.append(f"{what}: {_n(now)}, before {_n(before)}")
    if e.auc is not None:
        reasons.append(f"Forgotten documents against never-seen ones: {_auc(e)}")
    return reasons


def _pairs(e: Evidence, split: str) -> list[tuple[str, float, float]]:
    """Name, value before and value now of each term of `split` that both have."""
    found = []
    for name in TERM_NAMES:
        before, now = e.original.get(name), e.terms.get(name)
        if _of(name, split) and before is not None and now is not None:
            found.append((name, before, now))
    return found


def _mean(terms: Mapping[str, float | None], split: str, metric: str) -> float | None:
    values = [v for name, v in terms.items() if v is not None and _of(name, split, metric)]
    return sum(values) / len(values) if values else None


def _of(name: str, split: str, metric: str | None = None) -> bool:
    return name.startswith(split + "/") and (metric is None or name.endswith("/" + metric))


def _degenerate(scores: Scores) -> float | None:
    found: dict[str, Any] | None = scores.details.get("fluency", {}).get("retain")
    return None if not found else float(found["degenerate"])


def _pair(values: Any) -> tuple[float, float] | None:
    return None if values is None else (float(values[0]), float(values[1]))


def _auc(e: Evidence) -> str:
    reach = "" if e.auc_interval is None else f" ({_n(e.auc_interval[0])} to {_n(e.auc_interval[1])})"
    return f"AUC {_n(e.auc)}{reach}; alike would be 0.50"


def _title(name: str) -> str:
    _, task, metric = name.split("/")
    what = "completions" if metric == "regurgitation" else "answers"
    return f"Forget set, {task.replace('Task', 'task ')}, {what}"


def _n(value: float | None) -> str:
    return "not available" if value is None else f"{value:.2f}"


def _p(share: float) -> str:
    return f"{share:.0%}"
