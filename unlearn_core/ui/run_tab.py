"""The main tab: choose, press once, watch, and read the verdict. The job never runs in a listener: the
page submits it and polls, so that a reload or a second viewer sees the same run.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.errors import InputError
from unlearn_core.report.curves import losses_table, probes_table
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.ui.common import AT_ONCE, PRIVATE, inform, toast, warn
from unlearn_core.ui.handover_panel import HandoverPanel, handover_panel
from unlearn_core.ui.live_panel import LivePanel, live_panel
from unlearn_core.ui.result_panel import ResultPanel, SharePanel, result_panel, share_panel
from unlearn_core.ui.setup_panel import Setup, setup_panel
from unlearn_core.ui.studio import Studio

POLL_SECONDS = 1.0
_SET_LINK = """(run) => {
  const url = new URL(window.location);
  if (run) url.searchParams.set('run', run); else url.searchParams.delete('run');
  window.history.replaceState({}, '', url);
}"""
_LOOK_AT = """() => { setTimeout(() => document.querySelector('%s')?.scrollIntoView(
  {behavior: 'smooth', block: 'nearest'}), 150); }"""
# On a phone the form alone fills the screen; who follows a link came for the run.
_SHOW_RUN = """(run) => { if (run && window.innerWidth < 700) setTimeout(() => {
  const verdict = document.querySelector('#le-verdict h2')?.closest('#le-verdict');
  (verdict ?? document.querySelector('#le-progress'))?.scrollIntoView({block: 'start'});
}, 150); }"""


@dataclass(frozen=True)
class Session:
    """What a visitor's page remembers: the run on screen, what was drawn of it, and who they are."""

    run_id: gr.Textbox  # hidden, and kept by the browser, so that it outlives a restart of the server
    seen: gr.State
    owner: gr.BrowserState  # a secret that lets this browser stop its own runs
    timer: gr.Timer


@dataclass(frozen=True)
class RunTab:
    """What other tabs need of this one."""

    setup: Setup
    session: Session


def build_run_tab(studio: Studio, page: gr.Blocks) -> RunTab:
    """Lay the tab out and wire it; must be called inside the tab."""
    session = _session()
    setup = setup_panel(studio.public, studio.target_note, studio.forecast)
    with gr.Column() as idle:
        known = gr.HTML(_asking(), elem_id="le-knows")
    result = result_panel(studio, session.run_id)
    live = live_panel()
    live.ask.click(lambda run: _numbers(studio, run), session.run_id, live.numbers, **AT_ONCE)
    handover = handover_panel(studio, session.run_id, session.owner)
    share = share_panel()
    watch = _Watch(studio, session, result, live, handover, share, idle)
    _wire_start(studio, setup, watch)
    _wire_stop(studio, session, live)
    _wire_resume(studio, watch, live)
    _wire_load(studio, page, setup, watch, known)
    return RunTab(setup, session)


def _session() -> Session:
    return Session(
        gr.Textbox("", visible="hidden", label="Run on screen", elem_id="le-run-id"),
        gr.State({}),
        gr.BrowserState("", storage_key="lethe-owner", secret="lethe-browser-state"),
        gr.Timer(POLL_SECONDS, active=False),
    )


class _Watch:
    """Draws what is new of the run on screen; polled once a second while it is under way."""

    def __init__(
        self, studio: Studio, session: Session, result: ResultPanel, live: LivePanel,
        handover: HandoverPanel, share: SharePanel, idle: gr.Column,
    ) -> None:  # fmt: skip
        self.studio, self.session = studio, session
        self.result, self.live, self.handover, self.share = result, live, handover, share
        self.inputs = [session.run_id, session.seen, session.owner, result.order]
        self.outputs: list[Any] = [
            *live.drawn, *result.drawn, *handover.drawn, *share.drawn,
            idle, live.box, live.theirs, live.stop, live.early, live.best, live.resume, session.timer,
            session.seen,
        ]  # fmt: skip

    def tick(self, run: str, seen: dict[str, int], owner: str, order: str) -> list[Any]:
        """Values for `outputs`."""
        nothing = [gr.skip()] * len(self.outputs)
        if not run:
            return nothing
        try:
            view = self.studio.view(run)
        except InputError:  # deleted meanwhile
            return [*nothing[:-2], gr.Timer(active=False), seen]
        new = {name for name, version in view.versions.items() if seen.get(name) != version}
        if not new:
            return nothing
        changed = self.live.changes(view, seen, new)
        if "result" not in new:
            rest = len(self.outputs) - len(changed) - 1
            return [*changed, *[gr.skip()] * rest, view.versions]
        story = self.studio.live.story(run)
        mine = not view.over and self.studio.may_stop(run, owner)
        changed += self.result.changes(story, order)
        changed += self.handover.changes(story) + self.share.changes(story)
        changed += [gr.update(visible=False), gr.update(visible=True)]
        again = view.over and self.studio.may_resume(run, owner)
        changed += [gr.update(visible=not mine and not view.over)]
        changed += [gr.update(visible=mine)] * 3 + [gr.update(visible=again)]
        return [*changed, gr.Timer(active=not view.over), view.versions]


def _wire_start(studio: Studio, setup: Setup, watch: _Watch) -> None:
    session = watch.session

    def begin(owner: str, shown: str, *form: Any) -> tuple[Any, ...]:
        """Submit a run; from here on the page only watches it."""
        owner = owner or secrets.token_urlsafe(24)
        with toast("This cannot be run"):
            run = studio.submit(studio.spec(*form), owner, shown=shown)
        return run, {}, owner, gr.Timer(active=True)

    begun = setup.start.click(
        begin, [session.owner, session.run_id, *setup.fields],
        [session.run_id, session.seen, session.owner, session.timer], **PRIVATE,
    )  # fmt: skip
    begun.success(None, session.run_id, None, js=_SET_LINK, **AT_ONCE)
    drawn = begun.success(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)
    drawn.success(None, js=_LOOK_AT % "#le-progress", **AT_ONCE)
    session.timer.tick(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)


def _wire_stop(studio: Studio, session: Session, live: LivePanel) -> None:
    def stop(run: str, owner: str) -> None:
        with toast("This run was not stopped"):
            studio.worker.cancel(run, owner)
        inform("Stopping", "It stops after the present step.")

    def finish(run: str, owner: str) -> None:
        with toast("This run was not stopped"):
            studio.worker.finish_early(run, owner)
        inform("Ending the training", "What is trained so far will be kept and scored.")

    def keep_best(run: str, owner: str) -> None:
        with toast("This run was not stopped"):
            studio.worker.finish_early(run, owner, best=True)
        inform("Ending the training", "The best weights so far will be kept and scored.")

    live.best.click(keep_best, [session.run_id, session.owner], None, **PRIVATE)
    live.stop.click(stop, [session.run_id, session.owner], None, **PRIVATE)
    live.early.click(finish, [session.run_id, session.owner], None, **PRIVATE)


def _wire_resume(studio: Studio, watch: _Watch, live: LivePanel) -> None:
    session = watch.session

    def resume(run: str, owner: str) -> Any:
        with toast("This run was not resumed"):
            studio.worker.resume(run, owner)
        return gr.Timer(active=True)

    resumed = live.resume.click(resume, [session.run_id, session.owner], session.timer, **PRIVATE)
    resumed.success(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)


def _wire_load(studio: Studio, page: gr.Blocks, setup: Setup, watch: _Watch, known: gr.HTML) -> None:
    session = watch.session

    def open_page(owner: str, request: gr.Request) -> tuple[Any, ...]:
        """A link `?run=ID` shows that run; a browser without a secret of its own gets one."""
        owner = owner or secrets.token_urlsafe(24)
        run = request.query_params.get("run", "")
        try:
            if run:
                studio.store.get(run)
        except InputError as error:
            warn("No such run", error)
            run = ""
        return run, owner, gr.Timer(active=bool(run))

    def offer() -> tuple[Any, ...]:
        return gr.update(choices=studio.targets()), gr.update(choices=studio.methods())

    opened = page.load(open_page, session.owner, [session.run_id, session.owner, session.timer], **PRIVATE)
    drawn = opened.then(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)
    drawn.then(None, session.run_id, None, js=_SHOW_RUN, **AT_ONCE)
    # What needs the heavy libraries comes once the page stands.
    offered = opened.then(offer, None, [setup.target, setup.method], **PRIVATE)
    offered.then(studio.known_now, None, known, **PRIVATE)
    offered.then(studio.forecast, setup.fields, setup.forecast, **PRIVATE)


def _numbers(studio: Studio, run: str) -> Safe:
    """The tables behind the curves up to now."""
    story = studio.live.story(run)
    return join(losses_table(story), probes_table(story)) or tag("p", "No step yet.", class_="le-muted")


def _asking() -> Safe:
    waiting = tag("p", "Asking the model what it knows ...", class_="le-muted", role="status")
    return tag("div", tag("h2", "What it knows now"), waiting, class_="le-card")
