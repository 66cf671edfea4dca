"""What is watched while a model trains: the chosen secrets, the canaries, and the alarm when one falls."""

from __future__ import annotations

import math

from unlearn_core.data.last_turn import last_turn
from unlearn_core.report.kit.format import likely, percent, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.table import table
from unlearn_core.report.run.live.curves import mean_of
from unlearn_core.runs.events import WatchedFact
from unlearn_core.runs.state import RunState
from unlearn_core.training.watching.canary import LIMIT, PATIENCE

_CANARIES = {"retain": "Retain canary", "neighbours": "Neighbours canary", "general": "Utility canary"}
_KINDS = {
    "retain": "answers of the retain set",
    "neighbours": "answers about others",
    "general": "answers to general questions",
}
KEEP_BEST = "Stop and keep the best checkpoint"


def watch_panel(story: RunState) -> Safe:
    """The secrets that should fade beside the canaries that should not."""
    if not story.probes:
        return Safe("")
    return tag("div", secrets(story), canaries(story), class_="le-watched")


def secrets(story: RunState) -> Safe:
    """The chosen secrets: what is asked, the answer, and how probable it is before and now."""
    caption = f"Chosen secrets after step {story.probes[-1].step}: how probable the whole answer is; should fall"
    return _facts(story, "forget", caption)


def canaries(story: RunState) -> Safe:
    """Either canary before and now, its state in words, and the rule."""
    last = story.probes[-1]
    names = _present(story)
    if not names:
        told = "There is neither a retain set nor a general question to watch: nothing warns of harm."
        return tag("p", told, class_="le-muted")
    caption = f"Canaries after step {last.step}: answers that must survive, per token"
    rows = (_canary_row(story, split) for split in names)
    columns = ("Canary", "Before", "Now", "State")
    made = table(columns, rows, numbers=range(1, 4), caption=caption, class_="le-facts")
    return tag("div", made, tag("p", _rule(story), class_="le-muted"))


def singles(story: RunState) -> Safe:
    """The single answers that the canaries are the means of."""
    tables = [_facts(story, split, f"{_CANARIES[split]}: {_KINDS[split]}") for split in _present(story)]
    return tag("div", *tables, class_="le-watched")


def _present(story: RunState) -> list[str]:
    """The canaries there are."""
    known = {fact.split for fact in story.probes[-1].facts} if story.probes else set()
    return [split for split in _CANARIES if split in known]


def alarm(story: RunState) -> Safe:
    """What to know at once: a canary is down, or was."""
    if not story.alerts or story.kept is not None:
        return Safe("")
    said = [tag("p", alert.message) for alert in story.alerts[-2:] if alert in story.down or not story.down]
    if not story.down:
        return tag("div", *said, class_="le-notices", role="status")
    if story.end is not None or story.stage != "unlearn":
        return tag("div", *said, class_="le-warnings", role="status")
    advice = tag("p", f"It may come back. \u201c{KEEP_BEST}\u201d ends the training with the best weights so far.")
    title = tag("strong", "\u26a0 More is being lost than should be")
    return tag("div", title, *said, advice, class_="le-warnings le-alarm", role="alert")


def _canary_row(story: RunState, split: str) -> list[object]:
    before, now = mean_of(story.probes[0], split), mean_of(story.probes[-1], split)
    state, tone = _state(story, split, before, now)
    title = tag("span", _CANARIES[split], class_=f"le-tag le-{split}")
    return [title, percent(before), join(_meter(split, now), percent(now)), tag("span", state, class_=tone)]


def _state(story: RunState, split: str, before: float | None, now: float | None) -> tuple[str, str]:
    if any(alert.canary == split for alert in story.down):
        return "\u26a0 down", "le-tag le-tone-bad"
    if before and now is not None and now < LIMIT * before:
        return "low", "le-tag le-tone-fair"
    return "\u2713 holds", "le-tag le-tone-good"


def _rule(story: RunState) -> str:
    rule = (
        f"A canary is down when it stands below {LIMIT:.0%} of its start at {PATIENCE} looks in a row. "
        f"Watching took {percent(story.probes[-1].watching)} of the training time so far, of at most 10%."
    )
    best = story.kept.step if story.kept else story.probes[-1].best
    rule += f" The best weights, by what is forgotten against the lower canary, are those of step {best}."
    recovers = story.started.recovers_by if story.started else 0.0
    if recovers and story.started:
        num_steps = story.steps[-1].num_steps if story.steps else story.started.num_steps
        rule += f" This method lets them fall and brings them back: until step {round(recovers * num_steps)} "
        rule += "a fall is no alarm."
    return rule


def _facts(story: RunState, split: str, caption: str) -> Safe:
    before = {fact.id: fact.probability for fact in story.probes[0].facts if fact.split == split}
    gold = story.scores.get("retain_only")
    never = {} if gold is None else gold.details.watched
    columns = ("Fact", "Before", "Now", *(("Retain-only",) if never else ()))
    rows = []
    for fact in (fact for fact in story.probes[-1].facts if fact.split == split):
        row = _fact_row(fact, before.get(fact.id))
        if never:  # logarithms, of the facts that this model was asked
            row.append(likely(math.exp(never[fact.id]) if fact.id in never else None))
        rows.append(row)
    numbers = range(1, len(columns))
    return table(columns, rows, numbers=numbers, titled=False, caption=caption, class_="le-facts")


def _fact_row(fact: WatchedFact, before: float | None) -> list[object]:
    words = join(
        tag("span", shorten(last_turn(fact.prompt), 110), class_="le-prompt"),
        tag("span", shorten(fact.answer, 80), class_="le-answer"),
    )
    return [words, likely(before), join(_meter(fact.split, fact.probability), likely(fact.probability))]


def _meter(split: str, value: float | None) -> Safe:
    return tag("span", class_=f"le-meter le-{split}", style=f"--value:{value or 0:.3f}", aria_hidden="true")
