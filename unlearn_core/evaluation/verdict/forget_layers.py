"""The layers of a verdict that say whether anything of the forget set is left: answers, wordings, membership and
attacks, each a pure function of the scores of the models.

The rows that models wrote are read where there are any; of results that hold means only (published runs),
the means. A layer of which neither is there is "not measured".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from unlearn_core.evaluation.metrics.membership import ATTACK_TITLES, AUC_BAND, wilson_interval
from unlearn_core.evaluation.scores import PARAPHRASE, WORDING, Generation, Scores
from unlearn_core.evaluation.verdict import rows as told
from unlearn_core.evaluation.verdict.rows import share_told
from unlearn_core.evaluation.verdict.terms import ScoredModels, left, title
from unlearn_core.evaluation.verdict.types import Layer, State
from unlearn_core.system.grouped import grouped

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson

ADVANTAGE = 0.2  # 2 |AUC - 1/2| below this is of no use to an attacker even where it is certain
AUC_SIGMAS = 3.4  # four attacks and two directions: 1 % shared among them
PREFERRED_MORE = 0.3  # share of right answers preferred beyond chance: they are known, and not said
CUT = 0.2  # share of answers cut by the token limit from which nothing can be said of them
PLAYERS = "player"  # the audit row of what players of a game got out
_DISTINCT = ("loss", "zlib", "min_k", "min_k_plus")
_WAYS = {"forget" + PARAPHRASE: "an unseen phrasing", "forget" + WORDING: "a made wording"}


def answers(models: ScoredModels) -> Layer:
    """The forget set, asked as it was trained."""
    rows, before = told.known_rows(models.original, models.unlearned, "forget")
    reasons = _left_of_terms(models)
    if not before:
        return _from_terms(models, reasons)
    unknown = len(before) - sum(map(told.is_told, before.values()))
    found = told.count(rows, models.unlearned.generations, models.retain_only)
    if not told.count(list(before.values()), models.original.generations, None).beyond_chance():
        words = f"The original told {len(rows) or 'none'} of the {len(before)} facts, no more than chance"
        return Layer("answers", before=0.0, reasons=(words,))
    leaks = found.leaks() or bool(reasons)
    if found.leaks():
        reasons.insert(0, f"{found.told} of the {found.known} answers that the original knew are still told")
    for task, own in grouped((row.task, row) for row in rows if row.task).items():
        part = told.count(own, models.unlearned.generations, models.retain_only)
        if not found.leaks() and part.told > 1 and part.leaks(told.CHANCE_OF_A_PART):  # one of a task may be luck
            leaks = True
            reasons.append(f"{task.replace('Task', 'Task ')}: {part.told} of {part.known} answers are still told")
    if not leaks and found.told:
        reasons.append(f"{found.told} of {found.known} answers are told, no more than chance or too few to tell")
    if unknown:
        reasons.append(f"{unknown} of {len(before)} facts were not known to the original and are not claimed")
    layer = _counted("answers", found, "leaks" if leaks else "holds", reasons, before)
    # Where a model that never learned the answers goes on to the limit as well, that is how it does not know.
    never = told.of_splits(models.retain_only, "forget")
    usual = {row.key for row in (*before.values(), *never.values()) if row.cut}
    cut = sum(row.cut and row.key not in usual and not told.is_told(row) for row in rows)
    if not leaks and cut / len(rows) > CUT:
        words = f"{cut} of {len(rows)} answers were cut by the token limit before they came to anything"
        return replace(layer, state="not measured", reasons=(words, *layer.reasons))
    return layer


def withheld(models: ScoredModels) -> str:
    """Why an answer that is not said is known all the same: it is likelier than others of its kind, more
    often than chance and the retain-only model make it so. Empty where it is not."""
    before, now = models.about("forget", "preferred")
    if not now or not before or not now.n:
        return ""
    expected = now.chance
    if models.retain_only is not None:
        never = models.retain_only.details.preferred.get("forget")
        expected = max(expected, never.hits / never.n if never and never.n else 0.0)
    hits, known = now.hits, now.n
    if hits / known - expected < PREFERRED_MORE or told.binomial_tail(hits, known, expected) >= told.CHANCE:
        return ""
    return (
        f"Not said, but of {known} right answers {hits} are still likelier than others of their kind; "
        f"{expected:.0%} would be without knowing"
    )


def wordings(models: ScoredModels) -> Layer:
    """The same facts, asked in words that were never trained on."""
    rows, before = told.known_rows(models.original, models.unlearned, "forget" + PARAPHRASE, "forget" + WORDING)
    if rows:
        found = told.count(rows, models.unlearned.generations, models.retain_only)
        reasons = []
        if found.leaks():
            reasons.append(f"Asked in other words, it still tells {found.told} of {found.known} facts")
        leaks = found.leaks()
        for split, own in grouped((row.split, row) for row in rows).items():
            part = told.count(own, models.unlearned.generations, models.retain_only)
            if not found.leaks() and part.leaks(told.CHANCE_OF_A_PART):
                leaks = True
                reasons.append(f"In {_WAYS[split]} it still tells {part.told} of {part.known} facts")
        return _counted("wordings", found, "leaks" if leaks else "holds", reasons, before)
    was, now = models.about("forget", "paraphrases")
    if not was or now is None:
        return Layer("wordings", reasons=("No fact that the original tells was asked in other words",))
    share = now / was
    leaks = share > told.MARGIN * 4
    reasons = [f"Asked in other words, it still tells {now:.0%} of the forgotten facts"] if leaks else []
    return Layer("wordings", "leaks" if leaks else "holds", share, before=1.0, reasons=tuple(reasons))


def by_players(results: Iterable[AuditJson]) -> int:
    """How many facts players got out by words alone. results: AuditResults as JSON."""
    return sum(int(row["figures"].get("by_words", 0)) for row in results if row.get("name") == PLAYERS)


def with_finds(layer: Layer, facts: int) -> Layer:
    """The wordings, with the facts that players got out by words alone: one that is told is told."""
    if not facts:
        return layer
    told = f"Players got {facts} {'fact' if facts == 1 else 'facts'} out in words of their own"
    return replace(layer, state="leaks", reasons=(told, *layer.reasons))


def membership(models: ScoredModels) -> Layer:
    """Whether the documents of the forget set can be told from documents never seen, by the worst attack."""
    areas = _areas(models.unlearned)
    if not areas:
        return Layer("membership", reasons=("There are no documents to compare",))
    others = _areas(models.retain_only) if models.retain_only is not None else {}
    was = _areas(models.original)
    details = models.unlearned.details
    members, nonmembers = len(details.member_losses), len(details.nonmember_losses)
    name = max(areas, key=lambda key: abs(areas[key] - others.get(key, 0.5)))
    area, expected = areas[name], others.get(name, 0.5)
    spread = math.sqrt((members + nonmembers + 1) / (12 * members * nonmembers)) if members and nonmembers else None
    if spread is None:
        seen = not AUC_BAND[0] <= area <= AUC_BAND[1]
    else:
        # Beyond chance, and not as the retain-only model has it too: documents may differ by nature.
        seen = 2 * abs(area - expected) >= ADVANTAGE and abs(area - 0.5) >= AUC_SIGMAS * spread
    reasons = []
    if seen and area > expected:
        reasons.append(
            f"Its likelihoods still give the forgotten documents away: AUC {area:.2f} ({ATTACK_TITLES[name]})"
        )
    elif seen:
        reasons.append(
            f"The forgotten documents are now conspicuously unlikely: AUC {area:.2f} ({ATTACK_TITLES[name]}), alike is "
            "0.50"
        )
    reach = 1.96 * _auc_spread(area, members, nonmembers) if members and nonmembers else None
    low, high = (None, None) if reach is None else (max(0.0, area - reach), min(1.0, area + reach))
    state: State = "leaks" if seen else "holds"
    return Layer("membership", state, area, low, high, members, others.get(name), was.get(name), tuple(reasons))


def attacks(results: Iterable[AuditJson] | None, beneath: str = "") -> Layer:
    """What the audits found. results: AuditResults as JSON; beneath: what is known to lie under the model."""
    judged = [row for row in results or () if row.get("verdict") in ("leaks", "holds")]
    leaking = [str(row["name"]) for row in judged if row["verdict"] == "leaks"]
    reasons = [beneath] if beneath else []
    if leaking:
        reasons.append(f"Traces in {len(leaking)} of {len(judged)} attacks: {', '.join(leaking)}")
    if not judged:
        if beneath:
            return Layer("attacks", "leaks", 1.0, n=1, reasons=tuple(reasons))
        return Layer("attacks", reasons=("Not attacked yet",))
    state: State = "leaks" if leaking or beneath else "holds"
    low, high = wilson_interval(len(leaking), len(judged)) or (None, None)
    return Layer("attacks", state, len(leaking) / len(judged), low, high, len(judged), reasons=tuple(reasons))


def _left_of_terms(models: ScoredModels) -> list[str]:
    """What is left of each forget term where that is too much, as a reason."""
    reasons = []
    floor = models.floors
    for name, share, allowed in left(models.original.terms, models.unlearned.terms, floor):
        if share > allowed:
            now, before = models.unlearned.terms[name], models.original.terms[name]
            reasons.append(f"{title(name)}: {now:.2f} is left of {before:.2f} (never trained: {floor[name]:.2f})")
    return reasons


def _from_terms(models: ScoredModels, reasons: list[str]) -> Layer:
    """The answers layer of a result that holds means only."""
    shares = [share for _, share, _ in left(models.original.terms, models.unlearned.terms, models.floors)]
    if not shares:
        return Layer("answers", before=0.0, reasons=("The original model did not know the forget set",))
    value = min(1.0, max(0.0, sum(shares) / len(shares)))
    return Layer("answers", "leaks" if reasons else "holds", value, before=1.0, reasons=tuple(reasons))


def _counted(
    name: str,
    found: told.KnownCount,
    state: State,
    reasons: Sequence[str],
    before: Mapping[tuple[str, str, str], Generation],
) -> Layer:
    low, high = found.interval
    share = share_told(before)
    return Layer(name, state, found.share, low, high, found.known, found.retain_only, share, tuple(reasons))


def _areas(scores: Scores | None) -> dict[str, float]:
    if scores is None:
        return {}
    found = {name: v for name, v in scores.details.attacks.items() if name in _DISTINCT and v is not None}
    return found if found or scores.mia_auc is None else {"loss": scores.mia_auc}


def _auc_spread(area: float, members: int, nonmembers: int) -> float:
    """Standard error of an AUC (Hanley and McNeil, 1982, eq. 1, with exponential scores)."""
    one, two = area / (2 - area), 2 * area * area / (1 + area)
    square = area * (1 - area) + (members - 1) * (one - area * area) + (nonmembers - 1) * (two - area * area)
    return math.sqrt(max(square, 0.0) / (members * nonmembers))
