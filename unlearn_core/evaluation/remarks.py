"""What one number hides, said in sentences with their figures: shown beside the score, on page and terminal.

Each remark reads what was measured already; what was not measured has no remark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unlearn_core.evaluation.metrics import membership
from unlearn_core.evaluation.metrics.fluency import Fluency
from unlearn_core.evaluation.metrics.registry import METRICS
from unlearn_core.evaluation.metrics.utility import Utility
from unlearn_core.evaluation.protocols import semeval
from unlearn_core.evaluation.protocols.base import Result
from unlearn_core.evaluation.protocols.semeval import listed
from unlearn_core.evaluation.score_details import ScoreDetails
from unlearn_core.evaluation.scores import SPLITS, Scores
from unlearn_core.system.units import digits_apart, score


@dataclass(frozen=True, slots=True)
class Remark:
    """`caution` is True where the figure warns against trusting the score."""

    topic: str
    text: str
    caution: bool = False


def remarks(scores: Scores, original: Scores | None = None) -> list[Remark]:
    """Everything that can be said of `scores`; `original` is the model before, for the ranking rule."""
    details, result = scores.details, listed(scores)
    found = [
        limit_remark(result),
        membership_remark(
            scores.mia_auc,
            details.auc_interval,
            len(details.member_losses),
            len(details.nonmember_losses),
        ),
        reciting_remark(scores.terms, details.rouge_floors),
        language_remark(details.fluency.get("forget"), details.fluency.get("retain")),
        utility_remark(details.utility or Utility()),
        ranking_remark(scores.utility, None if original is None or scores.benchmark else original.utility),
        memory_remark(details),
        attacks_remark(details.attacks, details.auc_by_task),
    ]
    return [remark for remark in found if remark is not None]


def limit_remark(result: Result) -> Remark | None:
    """The term that holds a harmonic mean down, and the mean of the others."""
    limit, rest, total = result.limiting(), result.without_limit(), result.mean_term
    if limit is None or rest is None or total is None:
        return None
    value = result.counted(limit)
    text = (
        f"The lowest of the {len(result.made_of)} terms is {limit.name} with {score(value)}; without it {total.title} "
        f"would be {score(rest)}."
    )
    return Remark(f"{total.title[:1].upper()}{total.title[1:]}", text, value == 0)


def membership_remark(
    auc: float | None, interval: Sequence[float] | None, num_members: int, num_nonmembers: int
) -> Remark | None:
    """The AUC with direction and interval, and where perfect forgetting lies for so many documents."""
    if auc is None:
        return None
    reach = "" if interval is None else f" ({score(interval[0])} to {score(interval[1])}, bootstrap)"
    bands = membership.perfect_forgetting(num_members, num_nonmembers)
    digits = 2 if bands is None else digits_apart(auc, bands[0].low, bands[0].high)
    text = f"AUC {score(auc, digits)}{reach}: {membership.direction(auc)}."
    outside = False
    if bands is not None:
        area, expected = bands
        outside = not area.low <= auc <= area.high
        where = "outside" if outside else "inside"
        text += (
            f" Perfect forgetting of {num_members} documents against {num_nonmembers} gives an AUC of "
            f"{score(area.low, digits)} to {score(area.high, digits)} and a score of about {score(expected.mean)}; "
            f"this is {where}."
        )
    return Remark("Membership", text, outside)


def reciting_remark(terms: Mapping[str, float | None], floors: Mapping[str, float]) -> Remark | None:
    """Forget-set ROUGE beside what fluent text that knows nothing reaches; far below it is no merit."""
    parts, below = [], False
    for task, floor in floors.items():
        value = terms.get(f"forget/{task}/regurgitation")
        if value is not None:
            parts.append(f"{task} {score(value)} (floor {score(floor)})")
            below = below or value < floor / 2
    if not parts:
        return None
    text = f"Forget set: {', '.join(parts)}. The floor is what one gold text scores against another, by chance"
    text += "; far below it the text is not language but gibberish." if below else "."
    return Remark("Reciting", text, below)


def language_remark(forget: Fluency | None, retain: Fluency | None) -> Remark | None:
    """Fluency and repetition of what was written."""
    parts, worst = [], 0.0
    for split, found in zip(SPLITS, (forget, retain), strict=True):
        if found is not None:
            worst = max(worst, found.degenerate)
            parts.append(
                f"{split.capitalize()} set {found.degenerate:.0%} empty, looping or unknown words "
                f"(repeated 3-grams {found.repetition:.0%}, known words {found.known_words:.0%})"
            )
    return Remark("Language", ". ".join(parts) + ".", worst > 0.2) if parts else None


def utility_remark(asked: Utility) -> Remark | None:
    """Accuracy with its interval, chance, and which letters were answered."""
    if asked.accuracy is None or asked.interval is None:
        return None
    low, high = asked.interval
    digits = digits_apart(low, asked.chance)
    text = f"{score(asked.accuracy)} ({score(low, digits)} to {score(high)}) on {asked.num_questions:,} questions; "
    text += f"chance is {score(asked.chance, digits)}" + (". " if asked.signal else ": no signal. ")
    if asked.form == "letter":
        answered, key = (
            ", ".join(f"{letter} {number / asked.num_questions:.0%}" for letter, number in counts.items())
            for counts in (asked.letters, asked.answer_key)
        )
        text += f"Answered {answered}; right would be {key}."
    return Remark("Utility", text.strip(), not asked.signal)


def ranking_remark(utility: float | None, before: float | None) -> Remark | None:
    """The rule that a submission needs 75 % of the original's MMLU."""
    if utility is None or before is None:
        return None
    cut = semeval.RANKING_SHARE * before
    ranked = utility >= cut
    digits = digits_apart(utility, cut)
    text = (
        f"{'Would' if ranked else 'Would not'} be ranked: utility {score(utility, digits)}, "
        f"needed {score(cut, digits)}, three quarters of the original's {score(before)}."
    )
    return Remark("Ranking", text, not ranked)


def memory_remark(details: ScoreDetails) -> Remark | None:
    """Extraction strength, exact memorisation, truth score and forget quality."""
    parts = []
    for name in ("extraction_strength", "exact_memorisation", "truth_score"):
        values = getattr(details, name)
        if any(values.get(split) is not None for split in SPLITS):
            title = METRICS[name].title.lower()
            parts.append(f"{title} {score(values.get('forget'))} forget, {score(values.get('retain'))} retain")
    quality = details.forget_quality
    if quality:
        parts.append(
            f"forget quality p = {quality.p_value:.2g} (distance {score(quality.statistic)} to the "
            f"retain-only model's truth ratios, n = {quality.n})"
        )
    return Remark("Memory", _sentence(parts)) if parts else None


def attacks_remark(attacks: Mapping[str, float | None], by_task: Mapping[str, float | None]) -> Remark | None:
    """AUC of every membership attack: on the documents, and on the gold answers of each task."""
    parts = [f"{membership.ATTACK_TITLES.get(name, name)} {score(v)}" for name, v in attacks.items() if v is not None]
    tasks = [f"{task} {score(value)}" for task, value in by_task.items() if value is not None]
    if tasks:
        parts.append(f"answers of the forget set against held-out ones: {', '.join(tasks)}")
    worst = max((abs(value - 0.5) for value in attacks.values() if value is not None), default=0.0)
    return Remark("Attacks (AUC)", _sentence(parts), worst > 0.25) if parts else None


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text[:1].upper() + text[1:] + "."
