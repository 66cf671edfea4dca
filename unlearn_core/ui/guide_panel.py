"""The first visit: five short steps on the bundled model; one press closes it for good, one opens it again.

The browser remembers the step, so that a reload goes on where it was.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.markup import Safe, tag
from unlearn_core.ui.common import AT_ONCE, panel

CLOSED = "closed"


@dataclass(frozen=True)
class Step:
    """What to do, why, and where: the tab and the first of the elements that is on screen."""

    title: str
    told: str
    tab: str
    place: str


STEPS = (
    Step(
        "See what it knows",
        "The bundled model has learned invented people by heart. Below it answers three questions that it "
        "is about to forget.",
        "run", "#le-knows, #le-start",
    ),
    Step(
        "Make it forget",
        "Everything is chosen already: press the button and watch the answers fade. On two cores it takes "
        "under a minute.",
        "run", "#le-start",
    ),
    Step(
        "Read the verdict before the score",
        "Forgotten is only half of it: what should stay must still be there. The twelve terms show which "
        "part limits the score.",
        "run", "#le-verdict, #le-progress, #le-start",
    ),
    Step(
        "Ask it yourself",
        "Put the same question to the original, the unlearned and the retain-only model, and ask it in other "
        "words: what is hidden often comes out that way.",
        "probe", "#le-ask",
    ),
    Step(
        "Attack it",
        "What is gone stays gone under attack. Ten attacks, each with controls, tell hidden from gone.",
        "attack", "#le-attack-start",
    ),
)  # fmt: skip
# Tabs draw what they show when they are opened, so the place may not be there at once, and may be drawn anew
# while the keyboard is on it.
_LOOK = """(step) => {
  const places = PLACES[Number(step) || 0].split(', ');
  let tries = 100, again = 15;
  const look = () => {
    const found = places.map((one) => document.querySelector(one)).find((one) => one?.checkVisibility()
      && one.getBoundingClientRect().height);
    if (!found) return tries-- && setTimeout(look, 100);
    found.scrollIntoView({behavior: 'smooth', block: 'center'});
    if (!found.matches('button')) found.tabIndex = -1;
    found.focus({preventScroll: true});
    const keep = () => {
      if (again-- > 0) setTimeout(document.activeElement === document.body ? look : keep, 100);
    };
    keep();
  };
  setTimeout(look, 100);
}""".replace("PLACES", json.dumps([step.place for step in STEPS]))


def build_guide(page: gr.Blocks) -> _Guide:
    """Lay it out above the tabs; `wire` it once the tabs are there."""
    step = gr.BrowserState("", storage_key="lethe-guide", secret="lethe-browser-state")
    with panel("le-guide", visible=False, elem_id="le-guide") as box:
        shown = gr.HTML(elem_id="le-guide-step")
        with gr.Row(elem_classes=["le-buttons"]):
            show = gr.Button("Show me", size="sm", variant="primary", elem_id="le-guide-show")
            back = gr.Button("Back", size="sm", elem_id="le-guide-back")
            following = gr.Button("Next step", size="sm", elem_id="le-guide-next")
            close = gr.Button("Close the guide", size="sm", elem_id="le-guide-close")
    reopen = gr.Button(
        "Guide", size="sm", visible=False, elem_id="le-guide-open", elem_classes=["le-guide-open"]
    )
    return _Guide(page, step, box, shown, show, back, following, close, reopen)


@dataclass(frozen=True)
class _Guide:
    page: gr.Blocks
    step: gr.BrowserState
    box: gr.Column
    shown: gr.HTML
    show: gr.Button
    back: gr.Button
    following: gr.Button
    close: gr.Button
    reopen: gr.Button

    def wire(self, tabs: gr.Tabs) -> None:
        """Must be called inside the page."""
        drawn = [self.box, self.shown, self.back, self.following, self.reopen]
        moves: tuple[tuple[Any, Any], ...] = (
            (self.back.click, lambda at: str(max(0, place(at) - 1))),
            (self.following.click, _next),
            (self.close.click, lambda at: CLOSED),
            (self.reopen.click, lambda at: "0"),
        )
        self.page.load(_open, self.step, drawn, **AT_ONCE)
        for event, move in moves:
            event(move, self.step, self.step, **AT_ONCE).success(_draw, self.step, drawn, **AT_ONCE)
        opened = self.show.click(_go, self.step, tabs, **AT_ONCE)
        opened.success(None, self.step, None, js=_LOOK, **AT_ONCE)


def place(at: str) -> int:
    """The step that a browser remembers; the first for anything else that it sends."""
    return int(at) if at in map(str, range(len(STEPS))) else 0


def _go(at: str) -> gr.Tabs:
    return gr.Tabs(selected=STEPS[place(at)].tab)


def _next(at: str) -> str:
    """One step on; after the last one the guide is done."""
    return str(place(at) + 1) if place(at) + 1 < len(STEPS) else CLOSED


def _open(at: str, request: gr.Request) -> tuple[Any, ...]:
    """`_draw`, except that whoever follows a link to a run sees the run, and the guide as a button."""
    return _draw(CLOSED if not at and request.query_params.get("run") else at)


def _draw(at: str) -> tuple[Any, ...]:
    """Box, step, back, next, reopen."""
    number = place(at)
    last = number + 1 == len(STEPS)
    return (
        gr.update(visible=at != CLOSED), step_card(number), gr.update(interactive=number > 0),
        gr.update(value="Done" if last else "Next step"), gr.update(visible=at == CLOSED),
    )  # fmt: skip


def step_card(number: int) -> Safe:
    """One step with where it stands among the five; a screen reader hears it change."""
    states = ["le-done" if i < number else "le-now" if i == number else "" for i in range(len(STEPS))]
    marks = [
        tag("li", step.title, class_=f"le-chip {state}", aria_current="step" if state == "le-now" else None)
        for step, state in zip(STEPS, states, strict=True)
    ]
    step = STEPS[number]
    title = f"{number + 1} of {len(STEPS)}: {step.title}"
    return tag(
        "div", tag("div", tag("h2", title), tag("p", step.told), aria_live="polite"),
        tag("ol", *marks, class_="le-chips"), class_="le-heading",
    )  # fmt: skip
