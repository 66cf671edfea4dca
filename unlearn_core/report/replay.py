"""The answers a model gave on its way: from the original, over the saved steps, to the result.

The first and the last are those that were scored; the ones between were written during the training.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unlearn_core.report.format import count, percent
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.report.sidebyside import answer_text
from unlearn_core.report.story import Story
from unlearn_core.runs.events import Fact

Key = tuple[str, str]  # split and id of a fact
_TITLES = {"forget": "To forget", "retain": "To keep"}


@dataclass(frozen=True)
class Frame:
    """What was answered after `step` steps, and how probable the gold answers were about then."""

    step: int
    title: str
    texts: dict[Key, str]
    chances: dict[Key, float]


def frames(story: Story) -> list[Frame]:
    """The moments there are answers of, in order; none where none were written on the way."""
    if not story.answers or not story.probes:
        return []
    written = {(a.step, ""): {(t["split"], t["id"]): t["text"] for t in a.answers} for a in story.answers}
    keys = next(iter(written.values())).keys()
    last = story.steps[-1].step if story.steps else story.answers[-1].step
    ends = {"original": (0, "the original"), "unlearned": (last, "the result")}
    for model, moment in ends.items():
        if model in story.scores:
            rows = story.scores[model].generations
            said = {(row.split, row.id): row.output for row in rows if (row.split, row.id) in keys}
            written[moment] = said
    return [Frame(step, name, written[step, name], _chances(story, step)) for step, name in sorted(written)]


def replay(story: Story) -> Safe:
    """The answers under a slider (see `SLIDE`)."""
    shown = frames(story)
    if not shown:
        return Safe("")
    last = len(shown) - 1
    slider = tag(
        "input", type="range", min=0, max=last, value=last, step=1, id="le-replay-at",
        aria_label="Saved step", aria_valuetext=_title(shown[-1]),
    )  # fmt: skip
    label = tag("label", "Step", for_="le-replay-at")
    at = tag("output", _title(shown[-1]), for_="le-replay-at", aria_live="polite")
    bodies = _bodies(story, shown, lambda n: {"hidden": n != last, "data-title": _title(shown[n])})
    row = tag("div", label, slider, at, class_="le-slide")
    told = f"{count(len(shown), 'moment')} of the training; drag, or use the arrow keys, Home and End."
    head = join(tag("h3", "How the answers changed"), tag("p", told, class_="le-muted"))
    return tag("section", head, row, *bodies, class_="le-card le-replay", aria_label="Replay of the answers")


# Runs once for the element that holds the replay: the slider shows one moment and hides the others.
SLIDE = """
element.addEventListener('input', (event) => {
  const slider = event.target.closest('#le-replay-at');
  if (!slider) return;
  const bodies = element.querySelectorAll('.le-moment');
  bodies.forEach((body, place) => { body.hidden = place !== Number(slider.value); });
  const title = bodies[slider.value].dataset.title;
  slider.setAttribute('aria-valuetext', title);
  element.querySelector('.le-slide output').textContent = title;
});
"""


def replay_printed(story: Story) -> Safe:
    """The same without scripts: one button a moment, of which the arrow keys move along."""
    shown = frames(story)
    if not shown:
        return Safe("")
    last = len(shown) - 1
    others = (f".le-replay:not(:has(#le-moment-{n}:checked)) .le-moment-{n}" for n in range(len(shown)))
    style = tag("style", Safe(f"{','.join(others)} {{ display: none !important; }}"))
    buttons = [
        tag("span", tag("input", type="radio", name_="moment", id=f"le-moment-{n}", checked=n == last),
            tag("label", _title(frame), for_=f"le-moment-{n}"))
        for n, frame in enumerate(shown)
    ]  # fmt: skip
    chosen = tag("fieldset", tag("legend", "Step"), *buttons, class_="le-moments")
    return tag("div", style, chosen, *_bodies(story, shown, lambda n: {}), class_="le-card le-replay")


def _bodies(story: Story, shown: list[Frame], more: Callable[[int], dict[str, object]]) -> list[Safe]:
    facts = {(fact.split, fact.id): fact for fact in story.probes[0].facts}
    return [
        tag("div", *(_answer(facts[key], frame) for key in frame.texts if key in facts),
            class_=f"le-moment le-moment-{n}", **more(n))
        for n, frame in enumerate(shown)
    ]  # fmt: skip


def _answer(fact: Fact, frame: Frame) -> Safe:
    key = fact.split, fact.id
    chance = frame.chances.get(key)
    told = [tag("span", _TITLES.get(fact.split, fact.split), class_=f"le-tag le-{fact.split}")]
    if chance is not None:
        told.append(tag("span", f"the gold answer is {percent(chance)} probable", class_="le-muted"))
    return tag(
        "article", tag("p", join(*told), class_="le-said-of"), tag("p", fact.prompt, class_="le-question"),
        tag("p", tag("span", "Gold answer ", class_="le-muted"), fact.answer, class_="le-gold"),
        answer_text(fact.answer, frame.texts[key], fact.split == "forget"),
    )  # fmt: skip


def _title(frame: Frame) -> str:
    return f"{frame.step}, {frame.title}" if frame.title else str(frame.step)


def _chances(story: Story, step: int) -> dict[Key, float]:
    """The probabilities of the last look up to `step`."""
    look = max((p for p in story.probes if p.step <= step), key=lambda p: p.step)
    return {(fact.split, fact.id): fact.probability for fact in look.facts}
