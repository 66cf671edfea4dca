"""The layers of a verdict that say whether what should stay is left: neighbours and general ability, and whether the
model is a working one at all.

All shares are of what the original model had.
"""

from __future__ import annotations

import math
import statistics

from unlearn_core.evaluation.metrics.membership import wilson_interval
from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.scores import GENERAL, NEIGHBOURS, PARAPHRASE, Scores
from unlearn_core.evaluation.verdict import rows as told
from unlearn_core.evaluation.verdict.rows import share_told
from unlearn_core.evaluation.verdict.terms import ScoredModels, fall, retain_mean
from unlearn_core.evaluation.verdict.types import Layer, State
from unlearn_core.system.grouped import grouped

DAMAGED_BELOW = 0.85  # of a retain term, or of the utility above chance
COLLAPSED_BELOW = 0.5
COLLAPSED_COMPLETIONS = 0.25  # word for word is more than knowing
LOST = 0.1  # share of the neighbours' facts that may be lost
LOST_OF_A_GROUP = 0.25  # of those of one topic
CHURN = 0.03  # share of facts that training on anything loses, here and there
MIN_GROUP, MIN_SUBJECT = 8, 5  # facts, and questions, from which one group is judged apart
DEGENERATE_MORE = 0.4  # share of answers that stopped being language: a wreck
DISTURBED_MORE = 0.15  # and from this much on something was harmed
UNSEEN_RISE = math.log(2)  # nats per token: never-seen text at twice the perplexity
_LANGUAGE = (
    ("empty", "are empty"),
    ("loops", "go round in loops"),
    ("broken", "hold broken characters"),
    ("refusals", "are refusals"),
    ("same", "are one and the same text"),
    ("wrong_kind", "are not the kind of thing that was asked for"),
)
_ABOUT = {NEIGHBOURS: "others", "retain": "the retain set", GENERAL: "general facts"}


def neighbours(models: ScoredModels) -> Layer:
    """Facts of the same kind about subjects that nobody asked to forget: the neighbours where the data brings some,
    else the retain rows, in either phrasing."""
    brought = any(row.split == NEIGHBOURS for row in models.unlearned.generations)
    splits = (NEIGHBOURS,) if brought else ("retain", "retain" + PARAPHRASE)
    rows, before = told.known_rows(models.original, models.unlearned, *splits)
    fallen = []
    for metric, what in (("regurgitation", "Retain completions"), ("knowledge", "Retain answers")):
        fallen += fall(models.original.terms, models.unlearned.terms, metric, what, DAMAGED_BELOW)
    fallen += _language(models, NEIGHBOURS, "retain")
    if not rows:
        if not before:
            return _kept_from_terms(models, fallen)
        return Layer(
            "neighbours",
            "harmed" if fallen else "not measured",
            reasons=tuple(fallen) or ("The original told nothing of what others were asked",),
        )
    kept, reasons = sum(map(told.is_told, rows)), list(fallen)
    never = told.told_by(models.retain_only, rows)
    usual = max(CHURN, 1 - never if never is not None else 0.0)
    if _lost(len(rows) - kept, len(rows), usual, LOST):
        reasons.insert(0, f"Of {len(rows)} prompts about others that the original answered, {kept} are left")
    else:
        for topic, own in grouped((row.topic, row) for row in rows if row.topic).items():
            left_of = sum(map(told.is_told, own))
            if len(own) >= MIN_GROUP and _lost(len(own) - left_of, len(own), usual, LOST_OF_A_GROUP):
                reasons.append(f"Of {len(own)} prompts about others of the kind {topic!r}, {left_of} are left")
    low, high = wilson_interval(kept, len(rows)) or (None, None)
    state: State = "harmed" if reasons else "holds"
    return Layer("neighbours", state, kept / len(rows), low, high, len(rows), never, share_told(before), tuple(reasons))


def neighbours_kept(original: Scores, unlearned: Scores) -> float | None:
    """Share kept of what the original told of others; None where it told nothing."""
    return neighbours(ScoredModels(original, unlearned)).value


def general(models: ScoredModels) -> Layer:
    """What has nothing to do with the forget set: utility, text nobody trained on, and language."""
    reasons, low, high, value, count = [], None, None, None, 0
    before, now = models.original.utility, models.unlearned.utility
    asked = models.original.details.utility or Utility()
    signal, chance = asked.signal, asked.chance
    if before is not None and now is not None and signal:
        count = round(before * asked.num_questions)
        value = _above_chance(now, before, chance)
        if now < semeval.RANKING_SHARE * before or value < DAMAGED_BELOW:
            reasons.append(f"Utility fell from {before:.2f} to {now:.2f}")
        reasons += _subjects(models)
        own = (models.unlearned.details.utility or Utility()).interval
        if own:
            low, high = (_above_chance(end, before, chance) for end in own)
    never = None
    if models.retain_only is not None and models.retain_only.utility is not None and value is not None:
        never = _above_chance(models.retain_only.utility, before or 0, chance)
    rows, _ = told.known_rows(models.original, models.unlearned, GENERAL)
    if rows:
        kept = sum(map(told.is_told, rows))
        if _lost(len(rows) - kept, len(rows), CHURN, LOST_OF_A_GROUP):
            reasons.append(f"Of {len(rows)} general facts that the original told, {kept} are left")
        if value is None:
            value, count = kept / len(rows), len(rows)
            low, high = wilson_interval(kept, len(rows)) or (None, None)
    rise = unseen_rise(models.original, models.unlearned)
    if rise is not None and rise > UNSEEN_RISE:
        reasons.append(
            f"Text it never saw became {math.exp(min(rise, 50)):.3g} times as perplexing: {_nats(models.unlearned)} "
            f"nats per token, before {_nats(models.original)}"
        )
    reasons += _language(models, GENERAL)
    if value is None and rise is None and not reasons:
        return Layer("general", reasons=("Nothing was asked that is not about the forget set or others",))
    if value is None and rise is not None:
        value = math.exp(-max(0.0, rise))  # how likely a token of unseen text still is, of what it was
    state: State = "harmed" if reasons else "holds"
    return Layer("general", state, value, low, high, count, never, 1.0, tuple(reasons))


def wreck(models: ScoredModels, general_layer: Layer) -> list[str]:
    """Why the model is no working model any more; empty where it is one."""
    reasons = []
    before, now = models.original.utility, models.unlearned.utility
    asked = models.original.details.utility or Utility()
    if before is not None and now is not None and asked.signal:
        lost = (before - now) / max(before - asked.chance, 1e-9)
        if lost > COLLAPSED_BELOW:
            reasons.append(f"Utility fell from {before:.2f} to {now:.2f}; chance is {asked.chance}")
    # Where general ability was measured and holds, lost neighbours are lost neighbours, and no wreck.
    sound = general_layer.state == "holds" and general_layer.value is not None
    for split in (GENERAL,) if sound else (GENERAL, "retain"):
        was, is_now = models.about(split, "fluency")
        if is_now and is_now.degenerate - (was.degenerate if was else 0.0) >= DEGENERATE_MORE:
            words = f"{is_now.degenerate:.0%} of its answers about {_ABOUT[split]} are empty, loops or non-words"
            reasons.append(words)
    if not sound:
        for metric, what, share in (
            ("regurgitation", "Retain completions", COLLAPSED_COMPLETIONS),
            ("knowledge", "Retain answers", COLLAPSED_BELOW),
        ):
            reasons += fall(models.original.terms, models.unlearned.terms, metric, what, share)
    return reasons


def unseen_nll(scores: Scores) -> float | None:
    """Mean loss (nats per token) of text the model never saw.

    Neither a score nor a membership attack sees it rise: both compare the forgotten with the unseen, and a
    model that lost its language on everything but the retain set passes them.
    """
    losses = scores.details.nonmember_losses or scores.details.free_text_losses
    return statistics.fmean(losses) if losses else None


def unseen_rise(original: Scores, unlearned: Scores) -> float | None:
    """By how much unseen text became less likely, nats per token."""
    before, now = unseen_nll(original), unseen_nll(unlearned)
    return None if before is None or now is None else now - before


def _above_chance(now: float, before: float, chance: float) -> float:
    """What is left of what an accuracy was above chance, 0..1."""
    return max(0.0, min(1.0, (now - chance) / max(before - chance, 1e-9)))


def _kept_from_terms(models: ScoredModels, reasons: list[str]) -> Layer:
    pairs = [
        (retain_mean(s.terms, "knowledge"), retain_mean(s.terms, "regurgitation"))
        for s in (models.original, models.unlearned)
    ]
    shares = [min(1.0, now / before) for before, now in zip(*pairs, strict=True) if before and now is not None]
    if not shares:
        return Layer("neighbours", reasons=("Nothing was asked about others, so what else was lost is not known",))
    state: State = "harmed" if reasons else "holds"
    return Layer("neighbours", state, min(shares), before=1.0, reasons=tuple(reasons))


def _lost(lost: int, known: int, usual: float, allowed: float) -> bool:
    """Whether more was lost than is allowed, and than training on anything loses."""
    return lost / known >= allowed and told.binomial_tail(lost, known, usual) < told.CHANCE


def _subjects(models: ScoredModels) -> list[str]:
    """Subjects of the utility questions that were lost while the others were kept."""
    found = []
    before, now = ((s.details.utility or Utility()).hits for s in (models.original, models.unlearned))
    for subject, hits in before.items():
        after = now.get(subject)
        known = [kept for was, kept in zip(hits, after or (), strict=False) if was]
        if len(known) >= MIN_SUBJECT and _lost(known.count(False), len(known), 2 * CHURN, 2 * LOST_OF_A_GROUP):
            found.append(
                f"Of {len(known)} questions of the kind {subject!r} that it could answer, {sum(known)} are left"
            )
    return found


def _language(models: ScoredModels, *splits: str) -> list[str]:
    """What is wrong with the answers that should have stayed, beyond what was wrong before."""
    reasons = []
    for split in splits:
        what = _ABOUT[split]
        was, now = models.about(split, "fluency")
        if not now:
            continue
        for name, words in _LANGUAGE:
            share = getattr(now, name)
            if share - (getattr(was, name) if was else 0.0) >= DISTURBED_MORE:
                reasons.append(f"{share:.0%} of its answers about {what} {words}")
        more = now.degenerate - (was.degenerate if was else 0.0)
        if more >= DISTURBED_MORE and not any(what in reason for reason in reasons):
            reasons.append(f"{now.degenerate:.0%} of its answers about {what} are not language")
    return reasons


def _nats(scores: Scores) -> str:
    found = unseen_nll(scores)
    return "?" if found is None else f"{found:.2f}"
