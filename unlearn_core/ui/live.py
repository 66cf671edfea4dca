"""Runs being watched: each run's story is folded once and shared by all who look at it.

A viewer polls; what has not changed since its last poll is skipped, so that charts keep their zoom and
fifty viewers cost little more than one.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gradio.components.plot import PlotData

from unlearn_core.report.curves import Figure, facts_figure, loss_figure
from unlearn_core.report.progress import notices, progress_panel
from unlearn_core.report.replay import replay
from unlearn_core.report.story import Story
from unlearn_core.report.watched import alarm, singles, watch_panel
from unlearn_core.runs.events import Event
from unlearn_core.runs.store import RunStore

WAIT_STEP = (
    5.0  # seconds; a waiting time is shown to the next of these, so that it is not drawn at every poll
)
MAX_STORIES = 24  # finished stories hold every generation; the least recently watched is dropped first


@dataclass
class Watched:
    """One run's story with what was drawn of it, kept until it changes."""

    story: Story = field(default_factory=Story)
    offset: int = 0  # bytes of the run's events read so far
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawn: dict[str, tuple[Any, Any]] = field(default_factory=dict)

    def part(self, name: str, version: Any, draw: Any) -> Any:
        """What `draw` makes of the story, made once per version."""
        if self.drawn.get(name, (None, None))[0] != version:
            self.drawn[name] = (version, draw())
        return self.drawn[name][1]


@dataclass(frozen=True)
class View:
    """What a page shows of a run in motion; `versions` says which parts a viewer has already seen."""

    parts: dict[str, Any]
    versions: dict[str, Any]
    over: bool


class Live:
    """The stories of the runs in `store`, by run id."""

    def __init__(self, store: RunStore, unrecorded: Callable[[str], Event | None] = lambda _: None) -> None:
        """unrecorded: the end of a run that a full disk kept from being written down."""
        self.store, self._unrecorded = store, unrecorded
        self._watched: OrderedDict[str, Watched] = OrderedDict()
        self._lock = threading.Lock()

    def story(self, run_id: str) -> Story:
        """The story up to now. Raises InputError for a run that does not exist."""
        watched = self._follow(run_id)
        with watched.lock:
            return watched.story

    def view(self, run_id: str, position: int = 0, wait: float | None = None) -> View:
        """What to draw of the run up to now; it is at `position` of the queue for `wait` more seconds."""
        wait = None if wait is None else max(WAIT_STEP, WAIT_STEP * round(wait / WAIT_STEP))
        watched = self._follow(run_id)
        with watched.lock:
            story = watched.story
            versions: dict[str, Any] = {
                # The place in the queue changes without an event, so it is part of the version.
                "progress": f"{story.num_events} {position} {wait}",
                "losses": len(story.steps),
                "facts": len(story.probes),
                "alarm": f"{len(story.alerts)} {story.stage} {story.end is None}",
                "replay": int(story.end is not None),
                "result": int(story.end is not None),
            }
            draw = {
                "progress": lambda: (
                    progress_panel(story, position=position, wait=wait) + notices(story.notes)
                ),
                "losses": lambda: plot(loss_figure(story)),
                "facts": lambda: (plot(facts_figure(story)), watch_panel(story), singles(story)),
                "alarm": lambda: alarm(story),
                "replay": lambda: replay(story) if story.end is not None else "",
                "result": lambda: None,
            }
            parts = {name: watched.part(name, versions[name], draw[name]) for name in versions}
            return View(parts, versions, story.end is not None)

    def _follow(self, run_id: str) -> Watched:
        if run_id not in self._watched or not self.store.folder(run_id).is_dir():
            self._watched.pop(run_id, None)  # what was deleted is not told from memory either
            self.store.get(run_id)  # an id that names no run gets no place here
        with self._lock:
            watched = self._watched.setdefault(run_id, Watched())
            self._watched.move_to_end(run_id)
            while len(self._watched) > MAX_STORIES:
                self._watched.popitem(last=False)
        with watched.lock:
            events, watched.offset = self.store.read_events(run_id, since=watched.offset)
            for event in events:
                watched.story.add(event)
            end = self._unrecorded(run_id) if watched.story.end is None else None
            if end is not None:
                watched.story.add(end)
        return watched


def plot(figure: Figure) -> PlotData:
    """A figure in the form the plot component takes as it is."""
    return PlotData(type="plotly", plot=json.dumps(figure))
