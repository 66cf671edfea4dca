"""The first visit: four steps on the first tab, each one sentence with one action that is really done.

A step is ticked when its visitor pressed for what it asks for, here or elsewhere on the page, and that then came up: a
verdict, answers, the outcome of an attack, a comparison. What was there before the press, such as a recorded run's,
ticks nothing. The browser remembers what was pressed and done, and whether the guide is closed.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import gradio as gr

from unlearn_core.report.kit.markup import Safe, tag


@dataclass(frozen=True)
class GuideStep:
    """A step: its name, what to do in a sentence, what the button is called, the element that it presses, the elements
    that do it, and what comes up once it was done."""

    name: str
    told: str
    action: str
    press: str
    does: str
    done: str


STEPS = (
    GuideStep(
        "Forget",
        "Let a model forget and watch its answers fade: the bundled one knows 60 invented people by heart.",
        "Make it forget",
        "#le-start",
        "#le-start",
        "#le-verdict h2",
    ),
    GuideStep(
        "Ask",
        "Ask the original and the unlearned model the same, in words of your own.",
        "Chat with it",
        "#le-to-chat",
        "#le-ask, #le-chat-ask, .le-ask-around",
        "#le-answers [aria-busy=false], #le-chat [aria-busy=false]",
    ),
    GuideStep(
        "Recover",
        "What is only hidden comes back under attack: try to recover it.",
        "Try to recover it",
        "#le-to-recover",
        "#le-attack-start, #le-game-ask, #le-game-quit",
        "#le-leakage table, #le-game-over",
    ),
    GuideStep(
        "Compare",
        "See the run beside another one: scores, curves and answers.",
        "Compare",
        "#le-to-compare",
        "#le-to-compare, #le-compare, [data-tab-id=compare]",
        "#le-comparison table",
    ),
)
# Before the page is drawn, so that nothing moves when the guide turns out to be closed. Whoever follows a link to a
# run came for the run.
GUIDE_HEAD = """<style>
  .le-guide-closed .le-guide, html:not(.le-guide-closed) #le-guide-open { display: none; }
</style>
<script>
  if (localStorage.getItem('lethe-guide-closed') || /[?&](run|embed)=/.test(window.location.search))
    document.documentElement.classList.add('le-guide-closed');
</script>"""
_WATCH = """
const steps = STEPS, root = document.documentElement.classList;
const read = (key) => JSON.parse(localStorage.getItem(key) || '[]');
const kept = () => read('lethe-guide-done');
const pressed = () => read('lethe-guide-pressed');
const before = {};  // by step: what was on the page when it was pressed for
const draw = () => {
  const done = kept(), at = steps.findIndex((step) => !done.includes(step.name)), step = steps[at];
  element.querySelectorAll('.le-chip').forEach((chip, n) => {
    chip.classList.toggle('le-done', done.includes(steps[n].name));
    chip.classList.toggle('le-now', n === at);
    if (n === at) chip.setAttribute('aria-current', 'step'); else chip.removeAttribute('aria-current');
  });
  const told = step ? step.told : 'You have seen it all: forget somebody of your own under Data.';
  const line = element.querySelector('.le-guide-told'), act = element.querySelector('.le-guide-act');
  if (line.textContent !== told) line.textContent = told;
  act.hidden = !step;
  if (step) act.textContent = step.action;
};
const look = () => {
  const done = kept(), asked = pressed();
  const more = steps.filter((step) => asked.includes(step.name) && !done.includes(step.name) &&
    [...document.querySelectorAll(step.done)].some((one) => !before[step.name]?.includes(one)));
  if (!more.length) return;
  localStorage.setItem('lethe-guide-done', JSON.stringify([...done, ...more.map((step) => step.name)]));
  draw();
};
new MutationObserver(look).observe(
  document.body, {childList: true, subtree: true, attributes: true, attributeFilter: ['aria-busy']}
);
const press = (at) => {
  for (const step of steps.filter((one) => at.closest(one.does))) {
    before[step.name] = [...document.querySelectorAll(step.done)];
    localStorage.setItem('lethe-guide-pressed', JSON.stringify([...new Set([...pressed(), step.name])]));
  }
};
document.addEventListener('click', (event) => press(event.target), true);
// A question is also put by the Enter key.
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey) return;
  if (event.target.closest('#le-game-question, #le-game-begun')) press(document.querySelector('#le-game-ask'));
  if (event.target.matches('#le-prompt textarea')) press(document.querySelector('#le-ask'));
  if (event.target.matches('#le-chat-question textarea')) press(document.querySelector('#le-chat-ask'));
}, true);
element.addEventListener('click', (event) => {
  if (event.target.closest('.le-guide-act')) {
    const step = steps.find((one) => !kept().includes(one.name)), button = document.querySelector(step.press);
    if (button?.checkVisibility() && !button.disabled) button.click();
    else document.querySelector('#le-new button')?.scrollIntoView({block: 'center'});
  }
  if (event.target.closest('.le-guide-close')) {
    localStorage.setItem('lethe-guide-closed', 'yes');
    root.add('le-guide-closed');
    element.querySelector('#le-guide-open').focus();
  }
  if (event.target.closest('#le-guide-open')) {
    localStorage.removeItem('lethe-guide-closed');
    root.remove('le-guide-closed');
    element.querySelector('.le-guide-act').focus();
  }
});
draw();
look();
"""


def build_guide() -> gr.HTML:
    """Lay it out; must be called inside the first tab."""
    script = _WATCH.replace("STEPS", json.dumps([asdict(step) for step in STEPS]))
    return gr.HTML(_card(), elem_id="le-guide", js_on_load=script)


def _card() -> Safe:
    """The first step, which the script moves on; a screen reader hears it change."""
    chips = [tag("li", step.name, class_="le-chip") for step in STEPS]
    act = tag("button", STEPS[0].action, type="button", class_="le-guide-act le-use")
    close = tag("button", "Close the guide", type="button", class_="le-guide-close le-use")
    told = tag("p", STEPS[0].told, class_="le-guide-told", aria_live="polite")
    row = tag("div", tag("ol", *chips, class_="le-chips"), act, close, class_="le-guide-row")
    reopen = tag("button", "Guide", type="button", id="le-guide-open", class_="le-use")
    return tag("div", tag("section", told, row, class_="le-card le-guide", aria_label="Guide"), reopen)
