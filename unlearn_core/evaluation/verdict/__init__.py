"""The judgement beside the score, in layers: computed here, once, and read by everything that shows it.

The official score rewards wiping a model (PROTOCOL: the nine best of 153 published runs are wrecks), and a
run that no longer answers may still hold what it was made to forget. So each side is looked at apart, and
the headline says no more than the weakest side allows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict import forget_layers, retain_layers
from unlearn_core.evaluation.verdict.headline import HeadlineFacts, headline
from unlearn_core.evaluation.verdict.terms import ScoredModels, pairs
from unlearn_core.evaluation.verdict.types import GONE, LAYERS, WORDS, Layer, State, Verdict, earlier_word, word_of
from unlearn_core.system.units import digits_apart, score

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson

__all__ = [
    "GONE",
    "LAYERS",
    "WORDS",
    "Layer",
    "State",
    "Verdict",
    "attacked",
    "earlier_word",
    "verdict",
    "word_of",
]
UNCHANGED_WITHIN = 0.1


def verdict(
    original: Scores,
    unlearned: Scores,
    retain_only: Scores | None = None,
    audits: Iterable[AuditJson] | None = None,
) -> Verdict:
    """Judge `unlearned` against `original`; `retain_only` says what a model that never saw the forget set
    gives, `audits` (AuditResults as JSON) what attacks found."""
    if original.data_fingerprint != unlearned.data_fingerprint:
        return Verdict(
            "Not judged: the scores are of other data than the original's",
            "unchanged",
            "Only scores of the same prompts can be compared.",
            tuple(map(Layer, LAYERS)),
        )
    if retain_only is not None and retain_only.data_fingerprint != original.data_fingerprint:
        retain_only = None
    models = ScoredModels(original, unlearned, retain_only)
    results = list(audits or ())
    hidden = _hidden(models)
    found = {
        "answers": forget_layers.answers(models),
        "wordings": forget_layers.wordings(models),
        "neighbours": retain_layers.neighbours(models),
        "general": retain_layers.general(models),
        "membership": forget_layers.membership(models),
        "attacks": forget_layers.attacks(results, hidden),
    }
    withheld = forget_layers.withheld(models) if found["answers"].state == "holds" and not hidden else ""
    if withheld:
        layer = found["answers"]
        found["answers"] = replace(layer, state="leaks", reasons=(withheld, *layer.reasons))
    played = forget_layers.by_players(results)
    only_played = played if found["wordings"].state != "leaks" else 0
    found["wordings"] = forget_layers.with_finds(found["wordings"], played)
    wreck = retain_layers.wreck(models, found["general"])
    tried = frozenset(str(row["name"]) for row in results if row.get("verdict") in ("leaks", "holds"))
    findings = HeadlineFacts(bool(wreck), _unmoved(models, found), bool(withheld), hidden, tried, only_played)
    words = headline(found, findings)
    ranked = _ranked(models)
    reasons = [*wreck, *(reason for layer in found.values() for reason in layer.reasons), *_notes(models, ranked)]
    return Verdict(
        *words,
        layers=tuple(found[name] for name in LAYERS),
        reasons=tuple(dict.fromkeys(reasons)),
        limiting_term=semeval.limiting_term(unlearned.aggregated_terms),
        would_be_ranked=ranked,
    )


def attacked(audits: Iterable[AuditJson]) -> Verdict:
    """What attacks alone allow to be said, of weights that were never scored."""
    layer = forget_layers.attacks(audits)
    told = f"traces remain in {round((layer.value or 0) * layer.n)} of {layer.n} attacks"
    words = {"leaks": told, "holds": f"no trace in {layer.n} attacks"}.get(layer.state, "not attacked yet")
    word = "traces remain" if layer.state == "leaks" else "unchanged"
    layers = tuple(layer if name == "attacks" else Layer(name) for name in LAYERS)
    return Verdict(f"Not scored; {words}", word, "Only a run that was scored is judged.", layers, layer.reasons)


def _hidden(models: ScoredModels) -> str:
    """Why the weights beneath are the original's, where they are."""
    before = models.original.weights_hash
    if before and before == models.unlearned.weights_hash:
        return "no weight was changed"
    if before and before == models.unlearned.details.beneath_hash:
        return "the original's weights lie beneath, unchanged"
    return ""


def _unmoved(models: ScoredModels, found: Mapping[str, Layer]) -> bool:
    """Whether no term and no membership figure moved, and what was told is told still."""
    told = (found[name].value for name in ("answers", "wordings") if found[name].n)
    if any(value is not None and value < 1 - UNCHANGED_WITHIN for value in told):
        return False
    terms = (models.original.terms, models.unlearned.terms)
    moves = [abs(before - now) for split in ("forget", "retain") for _, before, now in pairs(*terms, split)]
    if models.original.mia_auc is not None and models.unlearned.mia_auc is not None:
        moves.append(abs(models.original.mia_auc - models.unlearned.mia_auc))
    return bool(moves) and max(moves) <= UNCHANGED_WITHIN


def _ranked(models: ScoredModels) -> bool | None:
    """Whether SemEval's rule on utility lets the submission in."""
    before, now = models.original.utility, models.unlearned.utility
    return None if before is None or now is None else now >= semeval.RANKING_SHARE * before


def _notes(models: ScoredModels, ranked: bool | None) -> list[str]:
    """What the reader must know besides, whatever the verdict."""
    before, now = models.original.utility, models.unlearned.utility
    notes = []
    if ranked is False and before is not None and now is not None:
        cut = semeval.RANKING_SHARE * before
        digits = digits_apart(now, cut)
        told = f"utility {score(now, digits)} is below the cut of {score(cut, digits)}"
        notes.append(f"Would not be ranked: {told}")
    if before is not None and not (models.original.details.utility or Utility()).signal:
        notes.append("Utility carries no signal here: the original model itself answers at chance")
    return notes
