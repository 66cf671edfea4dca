"""A button that plays the moments of something one after another, and a slider that goes to any of them.

player(last, "the result", "run")       the two, and beside them what the moment is called
SHOW + plays(".le-replay", 120)         the script of the element around them, where SHOW defines `show(box, at)`, which
                                        reads the moments by `moments(element, json)`
"""

from __future__ import annotations

from unlearn_core.report.kit.markup import Safe, tag


def player(last: int, moment: str, what: str, titled: bool = True) -> Safe:
    """Standing at the moment `last`, called `moment`; the first is 0. what: what is played. titled: whether the
    moment's name stands beside the slider."""
    play = tag("button", "Play", type="button", class_="le-play", aria_label=f"Play the {what}")
    name = f"Moment of the {what}"
    slider = tag(
        "input",
        type="range",
        min=0,
        max=last,
        value=last,
        step=1,
        class_="le-at",
        aria_label=name,
        aria_valuetext=moment,
    )
    return tag("div", play, slider, tag("output", moment) if titled else None, class_="le-slide")


_PLAYS = """
const moments = (one, told) => {  // of an element that was given them as the JSON `told`
  if (one.told !== told) [one.told, one.moments] = [told, JSON.parse(told)];
  return one.moments;
};
const go = (box, at) => {
  [box.at, box.last] = [at, Number(box.querySelector('.le-at').max)];
  show(box, at);
  written.takeRecords();
};
const call = (box, words, label) => {
  const button = box.querySelector('.le-play');
  button.textContent = words;
  button.setAttribute('aria-label', label);
};
const halt = (box) => {
  clearInterval(box.playing);
  box.playing = 0;
  if (box.querySelector('.le-play')) call(box, 'Play', box.called);
};
// Gradio writes new moments into the elements of the old ones and draws the last: a reader stays at an earlier one.
const boxOf = (node) => (node.nodeType === 1 ? node : node.parentElement)?.closest('BOX');
const written = new MutationObserver((changes) => {
  for (const box of new Set(changes.map((change) => boxOf(change.target)))) {
    const slider = box?.querySelector('.le-at'), last = Number(slider?.max);
    if (slider && box.at !== undefined) go(box, box.at < box.last ? Math.min(box.at, last) : last);
    if (slider && box.playing) call(box, 'Pause', 'Pause');
  }
  written.takeRecords();  // of what was drawn here
});
written.observe(element, {subtree: true, childList: true, characterData: true, attributes: true});
element.addEventListener('input', (event) => {
  const box = event.target.closest('BOX');
  if (!box || !event.target.matches('.le-at')) return;
  if (box.playing) halt(box);
  go(box, Number(event.target.value));
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('.le-play'), box = button?.closest('BOX');
  if (!box) return;
  if (box.playing) return halt(box);
  const slider = box.querySelector('.le-at');
  go(box, Number(slider.value) >= Number(slider.max) ? 0 : Number(slider.value));
  box.called = button.getAttribute('aria-label');
  call(box, 'Pause', 'Pause');
  box.playing = setInterval(() => {
    const last = Number(box.querySelector('.le-at')?.max ?? 0);
    if (last) go(box, Math.min(box.at + 1, last));
    if (box.at >= last) halt(box);
  }, PACE);
});
"""


def plays(box: str, pace: int) -> str:
    """The script for players inside elements that the selector `box` finds. pace: milliseconds between moments."""
    return _PLAYS.replace("BOX", box).replace("PACE", str(pace))
