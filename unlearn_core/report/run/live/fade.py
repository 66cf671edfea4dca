"""The fade: a few watched answers in large letters, each token as strong as the model still is of it.

One drawing for a run under way, for its replay, for the report without scripts and for the picture to keep.
A token's strength is the probability that the model writes the answer as far as that token, so that an answer
whose beginning is gone is gone to its end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from unlearn_core.data.last_turn import last_turn
from unlearn_core.report.kit.format import percent, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.player import player, plays
from unlearn_core.report.run.live.curves import decimate
from unlearn_core.runs.events import FactProbe, WatchedFact
from unlearn_core.runs.state import RunState

Key = tuple[str, str]  # split and id of a fact
NUM_FORGET, NUM_KEPT = 2, 1
MAX_FRAMES = 48
KEPT = ("neighbours", "retain", "general")  # whose answer is shown beside those that fade, the first there is
_LEAST = 0.06  # strength at which a token can just be made out


@dataclass(frozen=True)
class FadeFrame:
    """One moment: `pieces` are the tokens of each shown answer with their strength (0..1), `said` what the model
    wrote to the same prompt when it last did, at step `said_at`, `gone` and `kept` shares (0..1) of all watched
    answers."""

    step: int
    title: str
    pieces: dict[Key, tuple[tuple[str, float], ...]]
    said: dict[Key, str]
    said_at: int
    gone: float | None
    kept: float | None


def shown_facts(story: RunState) -> list[WatchedFact]:
    """The answers that are drawn: chosen before the run, whatever becomes of them, and first of those to forget the
    ones that the original says with even odds."""
    facts = story.probes[0].facts if story.probes else ()
    kept = next((found for split in KEPT if (found := _of(facts, split))), [])
    to_forget = sorted(_of(facts, "forget"), key=lambda fact: (fact.probability or 0.0) < 0.5)
    return [*to_forget[:NUM_FORGET], *kept[:NUM_KEPT]]


def frames(story: RunState) -> list[FadeFrame]:
    """The moments of a run so far, at most MAX_FRAMES, the original first and the last look last."""
    keys = [(fact.split, fact.id) for fact in shown_facts(story)]
    probes = decimate(story.probes, MAX_FRAMES)
    written = {0: _scored(story, "original", keys)}
    for moment in story.answers:
        written[moment.step] = {(row["split"], row["id"]): row["text"] for row in moment.answers}
    found = []
    for place, probe in enumerate(probes):
        last = place == len(probes) - 1 and "unlearned" in story.scores
        said_at = probe.step if last else max(step for step in written if step <= probe.step)
        said = _scored(story, "unlearned", keys) if last else written[said_at]
        by_key = {(fact.split, fact.id): fact for fact in probe.facts}
        title = "the original" if probe.step == 0 else "the result" if last else f"step {probe.step}"
        pieces = {key: strengths(by_key[key]) for key in keys if key in by_key}
        found.append(FadeFrame(probe.step, title, pieces, said, said_at, *shares(story.probes[0], probe)))
    return found


def shares(first: FactProbe, last: FactProbe) -> tuple[float | None, float | None]:
    """How much of the watched answers is gone, and how much of the others is kept: probabilities of whole
    answers, summed, against those of the original; None where there is nothing to compare."""
    before = {(fact.split, fact.id): fact.probability for fact in first.facts}
    sums = {True: [0.0, 0.0], False: [0.0, 0.0]}
    for fact in last.facts:
        was = before.get((fact.split, fact.id))
        if was is not None and fact.probability is not None and math.isfinite(was + fact.probability):
            sums[fact.split == "forget"][0] += was
            sums[fact.split == "forget"][1] += min(was, fact.probability)
    left, kept = (now / was if was > 0 else None for was, now in (sums[True], sums[False]))
    return None if left is None else 1 - left, kept


def strengths(fact: WatchedFact) -> tuple[tuple[str, float], ...]:
    """The answer's tokens, each with the probability that the model writes the answer as far as it."""
    if not fact.pieces:
        return ((fact.answer, fact.probability or 0.0),)
    found, so_far = [], 1.0
    for text, chance in fact.pieces:
        so_far *= chance or 0.0
        found.append((text, so_far))
    return tuple(found)


def told(gone: float | None, kept: float | None) -> str:
    """The one line beside the drawing."""
    named = (("answers gone", gone), ("others kept", kept))
    parts = [f"{name} {percent(share)}" for name, share in named if share is not None]
    return f"{', '.join(parts).capitalize()}, by probability" if parts else ""


def fade(story: RunState) -> Safe:
    """The run as it stands now; each token moves from what it was one look ago."""
    moments = frames(story)
    if not moments or not moments[-1].pieces:
        return Safe("")
    before = moments[-2] if len(moments) > 1 else moments[-1]
    line = tag("p", told(moments[-1].gone, moments[-1].kept), class_="le-fade-told", role="status")
    return tag("section", _cards(story, moments[-1], before), line, class_="le-fade", aria_label="Watched answers")


def replay(story: RunState) -> Safe:
    """The same with a button that plays the run and a slider that goes to any moment of it (see `PLAY`)."""
    moments = frames(story)
    if len(moments) < 2 or not moments[-1].pieces:
        return Safe("")
    last = len(moments) - 1
    keys = list(moments[-1].pieces)
    data = {
        "titles": [moment.title for moment in moments],
        "told": [told(moment.gone, moment.kept) for moment in moments],
        "strengths": [
            [round(strengths_drawn(p), 3) for key in keys for _, p in moment.pieces[key]] for moment in moments
        ],
        "said": [[_says(moment, key) for key in keys] for moment in moments],
    }
    line = tag("p", told(moments[-1].gone, moments[-1].kept), class_="le-fade-told")
    row = player(last, moments[-1].title, "run")
    body = join(_cards(story, moments[-1], moments[-1]), line, row)
    name = "Replay of the answers"
    return tag("section", body, class_="le-fade le-replay", aria_label=name, data_frames=json.dumps(data))


# Runs once for the element that holds a replay: draws the moment that the slider is at, or all of them in turn.
PLAY = """
const show = (box, at) => {
  const run = moments(box, box.dataset.frames);
  const slider = box.querySelector('.le-at');
  slider.value = at;
  slider.setAttribute('aria-valuetext', run.titles[at]);
  box.querySelector('output').textContent = run.titles[at];
  box.querySelector('.le-fade-told').textContent = run.told[at];
  box.querySelectorAll('.le-piece').forEach((piece, n) => piece.style.setProperty('--p', run.strengths[at][n]));
  box.querySelectorAll('.le-fade-said').forEach((line, n) => { line.textContent = run.said[at][n]; });
};
""" + plays(".le-replay", 120)


def replay_printed(story: RunState) -> Safe:
    """The replay without scripts: one button a moment, of which the arrow keys move along."""
    moments = frames(story)
    if not moments or not moments[-1].pieces:
        return Safe("")
    shown = decimate(moments, 9)
    last = len(shown) - 1
    others = (f".le-replay:not(:has(#le-moment-{n}:checked)) .le-moment-{n}" for n in range(len(shown)))
    style = tag("style", Safe(f"{','.join(others)} {{ display: none !important; }}"))
    buttons = [
        tag(
            "span",
            tag("input", type="radio", name_="moment", id=f"le-moment-{n}", checked=n == last),
            tag("label", moment.title, for_=f"le-moment-{n}"),
        )
        for n, moment in enumerate(shown)
    ]
    bodies = [
        tag(
            "div",
            _cards(story, moment, moment),
            tag("p", told(moment.gone, moment.kept), class_="le-fade-told"),
            class_=f"le-moment le-moment-{n}",
        )
        for n, moment in enumerate(shown)
    ]
    chosen = tag("fieldset", tag("legend", "Moment"), *buttons, class_="le-moments")
    return tag("div", style, chosen, *bodies, class_="le-card le-replay le-fade")


def _cards(story: RunState, now: FadeFrame, before: FadeFrame) -> Safe:
    first = _scored(story, "original", list(now.pieces))
    cards = [_card(fact, now, before, first) for fact in shown_facts(story) if (fact.split, fact.id) in now.pieces]
    return tag("div", *cards, class_="le-fade-cards")


def _card(fact: WatchedFact, now: FadeFrame, before: FadeFrame, first: dict[Key, str]) -> Safe:
    key = (fact.split, fact.id)
    kind = "forget" if fact.split == "forget" else "retain"
    was = before.pieces.get(key, now.pieces[key])
    pieces = [
        tag("span", text, class_="le-piece", style=f"--from:{strengths_drawn(old):.3f};--p:{strengths_drawn(p):.3f}")
        for (text, p), (_, old) in zip(now.pieces[key], was, strict=False)
    ]
    answer = tag("p", *pieces, role="img", aria_label=f"The answer: {fact.answer}", class_="le-fading")
    was_said = tag("p", "Before: ", tag("b", _short(first[key])), class_="le-fade-was") if key in first else None
    return tag(
        "article",
        asked(kind, fact.prompt),
        answer,
        was_said,
        tag("p", _says(now, key), class_="le-fade-said"),
        class_=f"le-fade-card le-{kind}-edge",
    )


def asked(kind: str, prompt: str) -> Safe:
    """What is asked, and whether the answer should go ("forget") or stay ("retain")."""
    mark = tag("span", "to forget" if kind == "forget" else "to keep", class_=f"le-tag le-{kind}")
    return tag("p", mark, " ", shorten(last_turn(prompt), 110), class_="le-fade-asked")


def _says(moment: FadeFrame, key: Key) -> str:
    """What the model wrote, and of which step that is where it is not this one: it writes more seldom than its
    probabilities are looked at."""
    when = "Now" if moment.said_at == moment.step else f"At step {moment.said_at}"
    return f"{when}: {_short(moment.said[key])}" if key in moment.said else ""


def _short(words: str) -> str:
    return shorten(words, 40) or "(empty)"


def strengths_drawn(chance: float) -> float:
    """How strongly a token of this probability is drawn: the eye needs more than a line."""
    return max(_LEAST, math.sqrt(min(max(chance, 0.0), 1.0)))


def _of(facts: Sequence[WatchedFact], split: str) -> list[WatchedFact]:
    return [fact for fact in facts if fact.split == split]


def _scored(story: RunState, model: str, keys: list[Key]) -> dict[Key, str]:
    """What a scored model answered to the shown facts."""
    rows = story.scores[model].generations if model in story.scores else ()
    return {(row.split, row.id): row.output for row in rows if (row.split, row.id) in keys}
