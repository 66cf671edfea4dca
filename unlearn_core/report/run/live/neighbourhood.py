"""The map of the subjects: where the original's hidden states put them, filled by what a model still answers.

Shape and colour say what should become of a subject; how full it is, the share of its facts that is answered. Places
never move: only what is answered does, at moments at which it was asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from unlearn_core.data.subject_groups import NEVER_SEEN
from unlearn_core.evaluation.scores import Scores
from unlearn_core.evaluation.verdict.rows import is_told
from unlearn_core.report.kit.format import count, shorten
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.palette import LETTERS
from unlearn_core.report.kit.player import player, plays
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.runs.events import PlacedSubject
from unlearn_core.runs.state import RunState

Told = tuple[int, int]  # how many facts were answered, of how many asked
KINDS = {"forget": "to forget", "retain": "to keep", "neighbours": "to keep, not trained on", NEVER_SEEN: "never seen"}
WIDTH, HEIGHT, _EDGE = 400, 290, 12
_HINT = "Point at a mark to read whom it stands for; press it to ask both models about them."
_READOUT = tag("p", _HINT, class_="le-map-readout le-muted", data_hint=_HINT)


@dataclass(frozen=True)
class MapFrame:
    """One moment: by subject what was answered of what was asked; nothing of a subject that was not asked then.
    scored: whether all facts of a subject were put to the model, and not one of each."""

    step: int
    title: str
    told: dict[str, Told]
    scored: bool = True


def frames(story: RunState) -> list[MapFrame]:
    """The original, every step at which subjects were asked, and the result; empty without a map.

    First and last go by all scored facts of a subject. Those between go by its first one, which was asked, where the
    original answers it word for word: of another it tells nothing.
    """
    if story.placed is None or "original" not in story.scores:
        return []
    original = story.scores["original"]
    found = [MapFrame(0, "the original", _scored(story.placed.subjects, original))]
    exact = {(row.split, row.id) for row in original.generations if row.score >= 1}
    known = {subject.name for subject in story.placed.subjects if (subject.split, subject.ids[0]) in exact}
    for asked in story.asked:
        told = {name: (int(told), 1) for name, told in asked.told.items() if name in known}
        found.append(MapFrame(asked.step, f"step {asked.step}", told, scored=False))
    if "unlearned" in story.scores:
        last = story.steps[-1].step if story.steps else 0
        found.append(MapFrame(last, "the result", _scored(story.placed.subjects, story.scores["unlearned"])))
    return found


def _scored(subjects: Sequence[PlacedSubject], scores: Scores) -> dict[str, Told]:
    """Of each subject's own rows how many a scored model tells."""
    told = {(row.split, row.id): is_told(row) for row in scores.generations}
    found = {}
    for subject in subjects:
        rows = [told[key] for name in subject.ids if (key := (subject.split, name)) in told]
        if rows:
            found[subject.name] = (sum(rows), len(rows))
    return found


def summed(story: RunState, frame: MapFrame) -> str:
    """How many of the facts asked at a moment were answered, those to forget and those to keep."""
    assert story.placed is not None
    parts = []
    for words, splits in (("to forget", ("forget",)), ("to keep", ("retain", "neighbours"))):
        counts = [frame.told[s.name] for s in story.placed.subjects if s.split in splits and s.name in frame.told]
        if counts:
            parts.append(f"{sum(told for told, _ in counts)} of {sum(of for _, of in counts)} {words}")
    words = "Facts answered" if frame.scored else "One fact each, answered word for word"
    return f"{words}: {', '.join(parts)}" if parts else ""


def neighbourhood(run_id: str, story: RunState) -> Safe:
    """The map with its legend, a button that plays the run, and a table of the same; empty without a map."""
    moments = frames(story)
    if not moments:
        return Safe("")
    drawn = tag("figure", _drawing(story, moments[-1], run_id), class_="le-map", data_map=_data(story, moments))
    body = join(drawn, _legend(story), _line(summed(story, moments[-1])), _slide([moments]), _READOUT)
    rows = details(f"The {len(_subjects(story))} subjects as a table", _table(run_id, story, moments))
    head = join(tag("h2", "Neighbourhood"), tag("p", _told(story), class_="le-muted"))
    return tag("section", head, body, rows, class_="le-card le-maps", aria_label="Neighbourhood")


def neighbourhoods(stories: Mapping[str, RunState]) -> Safe:
    """The maps of compared runs side by side, by run id in the order of their letters, played together. Only runs of
    the first one's model and data have its places; empty where fewer than two do."""
    mapped = {run_id: found for run_id, story in stories.items() if (found := frames(story))}
    ground = next((_ground(stories[run_id]) for run_id in mapped), None)
    same = [run_id for run_id in mapped if _ground(stories[run_id]) == ground]
    if len(same) < 2:
        return Safe("")
    maps = []
    for run_id in same:
        story, moments, place = stories[run_id], mapped[run_id], list(stories).index(run_id)
        letter = tag("b", LETTERS[place], class_=f"le-letter le-run-{place}")
        title = tag("figcaption", letter, " ", tag("output", moments[-1].title))
        drawing = _drawing(story, moments[-1], run_id)
        line = _line(summed(story, moments[-1]))
        maps.append(tag("figure", title, drawing, line, class_="le-map", data_map=_data(story, moments)))
    story = stories[same[0]]
    slide = _slide([mapped[run_id] for run_id in same])
    body = join(tag("div", *maps, class_="le-map-pair"), _legend(story), slide, _READOUT)
    head = join(tag("h3", "What each still answers"), tag("p", _told(story), class_="le-muted"))
    return tag("section", head, body, class_="le-maps", aria_label="Neighbourhoods")


def printed(story: RunState) -> Safe:
    """The map before and after, without scripts or links."""
    moments = frames(story)
    if len(moments) < 2:
        return Safe("")
    maps = [
        tag("figure", tag("figcaption", moment.title), _drawing(story, moment), _line(summed(story, moment)))
        for moment in (moments[0], moments[-1])
    ]
    pair = tag("div", *maps, class_="le-map-pair")
    return tag("div", tag("p", _told(story), class_="le-muted"), pair, _legend(story), class_="le-card le-maps")


def neighbourhood_json(story: RunState) -> dict[str, Any] | None:
    """The places, and what was answered at each moment; None without a map."""
    if story.placed is None:
        return None
    subjects = [{"name": s.name, "split": s.split, "x": s.x, "y": s.y} for s in story.placed.subjects]
    moments = [
        {"step": moment.step, "title": moment.title, "told": {name: list(told) for name, told in moment.told.items()}}
        for moment in frames(story)
    ]
    where = {"layer": story.placed.layer, "num_layers": story.placed.num_layers, "spread": story.placed.spread}
    return {**where, "subjects": subjects, "moments": moments}


def _ground(story: RunState) -> tuple[str, str]:
    """What two maps must share for their places to be the same."""
    scores = story.scores["original"]
    return scores.weights_hash, scores.data_fingerprint


def _subjects(story: RunState) -> list[PlacedSubject]:
    """In the order in which they are drawn: those to forget last, on top."""
    assert story.placed is not None
    order = list(KINDS)[::-1]
    return sorted(story.placed.subjects, key=lambda subject: order.index(subject.split))


def _told(story: RunState) -> str:
    placed = story.placed
    assert placed is not None
    return (
        f"Each mark is a subject, where layer {placed.layer} of {placed.num_layers} of the original puts the prompts "
        f"about it: alike is near. Across and up together show {placed.spread:.0%} of all differences."
    )


def _line(words: str) -> Safe:
    return tag("p", words, class_="le-map-told")


def _drawing(story: RunState, moment: MapFrame, run_id: str = "") -> Safe:
    """The marks. For pointers alone: the table says the same, and its links are in reach of the keyboard."""
    marks = [_mark(subject, moment.told.get(subject.name), run_id) for subject in _subjects(story)]
    return tag("svg", *marks, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="le-map-drawing", aria_hidden="true")


def _mark(subject: PlacedSubject, told: Told | None, run_id: str) -> Safe:
    x = round(_EDGE + subject.x * (WIDTH - 2 * _EDGE), 1)
    y = round(HEIGHT - _EDGE - subject.y * (HEIGHT - 2 * _EDGE), 1)
    classes = f"le-mark le-mark-{subject.split}" + ("" if told or subject.split == NEVER_SEEN else " le-unasked")
    style = f"--told:{share(told):.3f}"
    shape = _shape(subject.split, x, y)
    if not run_id:
        answered = f"{told[0]} of {count(told[1], 'fact')} answered" if told else "not asked"
        title = tag("title", f"{_who(subject)}: {answered}")
        return tag("g", title, shape, class_=classes, style=style)
    link = {"href": address(run_id, subject), "tabindex": "-1", "data_subject": subject.name}
    return tag("a", shape, class_=classes, style=style, data_who=_who(subject), **link)


def _shape(split: str, x: float, y: float) -> Safe:
    """A circle to forget, a square to keep, a diamond for a neighbour, a dot for whom the model has never seen."""
    if split == "retain":
        return tag("rect", x=round(x - 3.6, 1), y=round(y - 3.6, 1), width=7.2, height=7.2, rx=1)
    if split == "neighbours":
        return tag("path", d=f"M{x} {round(y - 5, 1)}l5 5l-5 5l-5 -5z")
    return tag("circle", cx=x, cy=y, r=2 if split == NEVER_SEEN else 4.2)


def share(told: Told | None) -> float:
    """How full a mark is, 0 to 1."""
    return told[0] / told[1] if told else 0.0


def _who(subject: PlacedSubject) -> str:
    return f"{shorten(subject.name, 60)}, {KINDS[subject.split]}"


def address(run_id: str, subject: PlacedSubject) -> str:
    """Where the models of the run are asked about a subject."""
    return f"?{urlencode({'run': run_id, 'tab': 'probe', 'about': subject.name})}"


def _legend(story: RunState) -> Safe:
    present = {subject.split for subject in _subjects(story)}
    entries = []
    for split, words in KINDS.items():
        if split in present:
            number = sum(subject.split == split for subject in _subjects(story))
            full = tag("g", _shape(split, 6, 6), class_=f"le-mark le-mark-{split}", style="--told:1")
            icon = tag("svg", full, viewBox="0 0 12 12", width="16", height="16", aria_hidden="true")
            entries.append(tag("li", icon, f" {number:,} {words}"))
    entries.append(tag("li", "Full: answers all. Empty: answers nothing. Dashed: not asked then.", class_="le-muted"))
    return tag("ul", *entries, class_="le-map-legend")


def _slide(moments_of: Sequence[Sequence[MapFrame]]) -> Safe | None:
    """The button that plays and the slider over the moments, as many as the run with most of them has."""
    last = max(map(len, moments_of)) - 1
    if last < 1:
        return None
    titles = {moments[-1].title for moments in moments_of}
    title = titles.pop() if len(titles) == 1 else "the end"
    return player(last, title, "map", titled=len(moments_of) == 1)


def _data(story: RunState, moments: Sequence[MapFrame]) -> str:
    """What the page's script draws: a title, a line and each mark's counts for every moment; null is not asked."""
    order = [subject.name for subject in _subjects(story)]
    record = {
        "titles": [moment.title for moment in moments],
        "lines": [summed(story, moment) for moment in moments],
        "told": [[moment.told.get(name) for name in order] for moment in moments],
    }
    return json.dumps(record, separators=(",", ":"))


def _table(run_id: str, story: RunState, moments: Sequence[MapFrame]) -> Safe:
    """Every subject with its link, what should become of it, and what was answered before and now."""
    assert story.placed is not None
    before, now = moments[0], moments[-1]
    rows = []
    for subject in story.placed.subjects:
        link = tag("a", shorten(subject.name, 60), href=address(run_id, subject), data_subject=subject.name)
        counts = (_counted(moment.told.get(subject.name)) for moment in (before, now))
        rows.append([link, KINDS[subject.split], *counts])
    columns = ("Subject", "Set", "Before", now.title.capitalize())
    return scrolled(table(columns, rows, numbers=(2, 3)), "Subjects", tall=True)


def _counted(told: Told | None) -> str:
    return f"{told[0]} of {told[1]}" if told else "not asked"


# Runs once for the element that holds maps: draws the moment that the slider is at, or all of them in turn, and says
# whom the mark under the pointer stands for.
PLAY_MAP = """
const mapOf = (figure) => moments(figure, figure.dataset.map);
const placeIn = (figure, at, last) => Math.round(at / last * (mapOf(figure).titles.length - 1));
const show = (box, at) => {
  const slider = box.querySelector('.le-at'), last = Number(slider.max);
  slider.value = at;
  for (const figure of box.querySelectorAll('.le-map')) {
    const run = mapOf(figure), moment = placeIn(figure, at, last);
    figure.at = moment;
    figure.querySelectorAll('.le-mark').forEach((mark, n) => {
      const told = run.told[moment][n];
      mark.style.setProperty('--told', told ? told[0] / told[1] : 0);
      mark.classList.toggle('le-unasked', !told && !mark.classList.contains('le-mark-holdout'));
    });
    const alone = box.querySelectorAll('.le-map').length === 1, part = alone ? box : figure;
    part.querySelector('.le-map-told').textContent = run.lines[moment];
    part.querySelector('output').textContent = run.titles[moment];
    slider.setAttribute('aria-valuetext', run.titles[moment]);
  }
};
element.addEventListener('mouseover', (event) => {
  const box = event.target.closest('.le-maps'), mark = event.target.closest('a.le-mark');
  const line = box?.querySelector('.le-map-readout');
  if (!line) return;
  if (!mark) { line.textContent = line.dataset.hint; return; }
  const figure = mark.closest('.le-map'), run = mapOf(figure);
  const told = run.told[figure.at ?? run.told.length - 1][[...figure.querySelectorAll('.le-mark')].indexOf(mark)];
  const words = told ? `${told[0]} of ${told[1]} fact${told[1] === 1 ? '' : 's'} answered` : 'not asked';
  line.textContent = `${mark.dataset.who}: ${words}`;
});
""" + plays(".le-maps", 700)
