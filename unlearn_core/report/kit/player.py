"""A button that plays the moments of something one after another, and a slider that goes to any of them.

player(last, "the result", "run")       the two, and beside them what the moment is called
SHOW + plays(".le-replay", 120)         the script of the element around them, where SHOW defines `show(box, at)`
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
const halt = (box) => {
  clearInterval(box.playing);
  box.playing = 0;
  const button = box.querySelector('.le-play');
  button.textContent = 'Play';
  button.setAttribute('aria-label', button.dataset.name);
};
element.addEventListener('input', (event) => {
  const box = event.target.closest('BOX');
  if (!box || !event.target.matches('.le-at')) return;
  if (box.playing) halt(box);
  show(box, Number(event.target.value));
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('.le-play'), box = button?.closest('BOX');
  if (!box) return;
  if (box.playing) return halt(box);
  const slider = box.querySelector('.le-at'), last = Number(slider.max);
  let at = Number(slider.value) >= last ? 0 : Number(slider.value);
  show(box, at);
  button.dataset.name = button.getAttribute('aria-label');
  button.textContent = 'Pause';
  button.setAttribute('aria-label', 'Pause');
  box.playing = setInterval(() => {
    at += 1;
    show(box, at);
    if (at >= last) halt(box);
  }, PACE);
});
"""


def plays(box: str, pace: int) -> str:
    """The script for players inside elements that the selector `box` finds. pace: milliseconds between moments."""
    return _PLAYS.replace("BOX", box).replace("PACE", str(pace))
