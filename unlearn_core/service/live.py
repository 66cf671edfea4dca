"""Runs being watched: each run's story, its `RunState`, is folded once and shared by all who look at it.

A viewer polls; what has not changed since its last poll is skipped, so that charts keep their zoom and
fifty viewers cost little more than one.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from unlearn_core.report.kit.markup import Safe, join
from unlearn_core.report.run.live.curves import facts_figure, loss_figure
from unlearn_core.report.run.live.fade import fade
from unlearn_core.report.run.live.neighbourhood import neighbourhood
from unlearn_core.report.run.live.progress import notices, progress_panel, telemetry
from unlearn_core.report.run.live.watched import alarm, singles, watch_panel
from unlearn_core.runs.events import Event
from unlearn_core.runs.state import RunState
from unlearn_core.store.store import RunStore

WAIT_STEP = 5.0  # seconds; a waiting time is shown to the next of these, so that it is not drawn at every poll
MAX_STORIES = 24  # finished stories hold every generation; the least recently watched is dropped first


@dataclass
class LiveRun:
    """One run's story with what was drawn of it, kept until it changes."""

    story: RunState
    offset: int = 0  # bytes of the run's events read so far
    lock: threading.Lock = field(default_factory=threading.Lock)
    drawn: dict[str, tuple[object, Any]] = field(default_factory=dict)

    def part(self, name: str, version: object, draw: Callable[[], object]) -> Any:
        """What `draw` makes of the story, made once per version."""
        if self.drawn.get(name, (None, None))[0] != version:
            self.drawn[name] = (version, draw())
        return self.drawn[name][1]


@dataclass(frozen=True)
class LiveView:
    """What a page shows of a run in motion; `versions` says which parts a viewer has already seen."""

    parts: dict[str, Any]
    versions: dict[str, object]
    over: bool


class LiveRuns:
    """The stories of the runs in `store`, by run id."""

    def __init__(self, store: RunStore, unrecorded: Callable[[str], Event | None] = lambda _: None) -> None:
        """unrecorded: the end of a run that a full disk kept from being written down."""
        self.store, self._unrecorded = store, unrecorded
        self._watched: OrderedDict[str, LiveRun] = OrderedDict()
        self._lock = threading.Lock()

    def story(self, run_id: str) -> RunState:
        """The story up to now. Raises InputError for a run that does not exist."""
        watched = self._follow(run_id)
        with watched.lock:
            return watched.story

    def view(self, run_id: str, position: int = 0, wait: float | None = None) -> LiveView:
        """What to draw of the run up to now; it is at `position` of the queue for `wait` more seconds."""
        wait = None if wait is None else max(WAIT_STEP, WAIT_STEP * round(wait / WAIT_STEP))
        watched = self._follow(run_id)
        with watched.lock:
            story = watched.story
            training = story.stage == "unlearn" and bool(story.steps)
            over, num_probes = story.end is not None, len(story.probes)
            mapped = f"{story.placed is not None} {len(story.asked)} {'unlearned' in story.scores}"
            drawn: dict[str, tuple[object, Callable[[], object]]] = {
                # The place in the queue changes without an event, so it is part of the version. Of a run that is over
                # the result stands in its place.
                "progress": (
                    f"{story.num_events} {position} {wait}",
                    lambda: "" if story.verdict else _progress(story, position, wait),
                ),
                "fade": (f"{num_probes} {over}", lambda: "" if over else fade(story)),
                "telemetry": (story.num_events, lambda: telemetry(story)),
                "losses": (len(story.steps), lambda: loss_figure(story).to_json()),
                "facts": (
                    num_probes,
                    lambda: (facts_figure(story).to_json(), watch_panel(story), singles(story)),
                ),
                "map": (mapped, lambda: neighbourhood(run_id, story)),
                "alarm": (f"{len(story.alerts)} {story.stage} {not over}", lambda: alarm(story)),
                "over": (over, lambda: None),
                "result": (f"{over} {len(story.judged)} {training}", lambda: None),
            }
            parts = {name: watched.part(name, *made) for name, made in drawn.items()}
            return LiveView(parts, {name: version for name, (version, _) in drawn.items()}, over)

    def _follow(self, run_id: str) -> LiveRun:
        if run_id not in self._watched or not self.store.folder(run_id).is_dir():
            self._watched.pop(run_id, None)  # what was deleted is not told from memory either
            self.store.get(run_id)  # an id that names no run gets no place here
        with self._lock:
            watched = self._watched.setdefault(run_id, LiveRun(self.store.new_state(run_id)))
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


def _progress(story: RunState, position: int, wait: float | None) -> Safe:
    return join(progress_panel(story, position=position, wait=wait), notices(story.notes))
