"""The main tab: choose, press once, watch, and read the verdict. The job never runs in a listener: the
page submits it and polls, so that a reload or a second viewer sees the same run.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.mend import problem_box
from unlearn_core.report.run.live.curves import losses_table, probes_table
from unlearn_core.report.run.live.neighbourhood import PLAY_MAP
from unlearn_core.report.run.run_header import run_header
from unlearn_core.service.choices import Brought
from unlearn_core.service.live import LiveView
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, PRIVATE, UNSEEN, inform, problem, toast, warn
from unlearn_core.ui.page import POLL_AT_END, POLL_SECONDS, PageSession, RunTab
from unlearn_core.ui.panels.export_panel import HandoverPanel, handover_panel
from unlearn_core.ui.panels.live_panel import REDRAW, ChartsPanel, LivePanel, charts_panel, live_panel
from unlearn_core.ui.panels.result_panel import OutcomePanel, ResultPanel, outcome_panel, result_panel
from unlearn_core.ui.panels.setup_panel import Setup, setup_panel
from unlearn_core.ui.web.addresses import put

_LAST_STAGE, _NEAR = "score unlearned", 0.9  # share of the steps
_NOT_RUN = "This cannot be run"
# A press on a subject's mark with nothing held asks about it on this page; any other opens the mark's own address,
# as with every link.
_ASK_BY_MAP = """
element.addEventListener('click', (event) => {
  const link = event.target.closest('a[data-subject]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  trigger('select', {subject: link.dataset.subject});
});
"""
_LOOK_AT = """() => { setTimeout(() => document.querySelector('%s')?.scrollIntoView(
  {behavior: 'smooth', block: 'nearest'}), 150); }"""
# On a phone the form alone fills the screen; who follows a link came for the run.
_SHOW_RUN = """(run) => { if (run && window.innerWidth < 700) setTimeout(() => {
  const verdict = document.querySelector('#le-verdict h2')?.closest('#le-verdict');
  (verdict ?? document.querySelector('#le-progress'))?.scrollIntoView({block: 'start'});
}, 150); }"""


def build_run_tab(studio: Studio, page: gr.Blocks) -> RunTab:
    """Lay the tab out and wire it; must be called inside the tab."""
    session = _session()
    header = gr.HTML(elem_id="le-run-header")
    setup = setup_panel(studio.public, studio.choices.target_note)
    with gr.Column() as idle:
        known = gr.HTML(_asking(), elem_id="le-knows")
    outcome = outcome_panel()
    live = live_panel()
    with gr.Accordion("Details", open=True, visible=False, elem_id="le-details") as details:
        result = result_panel(studio, session.run_id)
        subjects = gr.HTML(elem_id="le-map", js_on_load=PLAY_MAP + _ASK_BY_MAP)
        charts = charts_panel()
        handover = handover_panel(studio, session.run_id, session.owner, outcome.report, outcome.certificate)
    charts.ask.click(lambda run: _numbers(studio, run), session.run_id, charts.numbers, **AT_ONCE)
    details.expand(None, js=REDRAW, **AT_ONCE)
    parts = _Shown(header, setup, idle, outcome, live, details, result, subjects, charts, handover)
    watch = _Watch(studio, session, parts)
    _wire_start(studio, setup, watch)
    _wire_stop(studio, session, live)
    _wire_resume(studio, watch, live)
    opened = _wire_load(studio, page, setup, watch, known)
    return RunTab(setup, session, outcome, subjects, opened)


def _session() -> PageSession:
    return PageSession(
        gr.Textbox("", label="Run on screen", elem_id="le-run-id", **UNSEEN),
        gr.State({}),
        gr.BrowserState("", storage_key="lethe-owner", secret="lethe-browser-state"),
        gr.Timer(POLL_SECONDS, active=False),
        gr.Textbox("", label="More to show", **UNSEEN),
    )


@dataclass(frozen=True)
class _Shown:
    """The parts of the tab, from top to bottom."""

    header: gr.HTML
    setup: Setup
    idle: gr.Column
    outcome: OutcomePanel
    live: LivePanel
    details: gr.Accordion
    result: ResultPanel
    subjects: gr.HTML
    charts: ChartsPanel
    handover: HandoverPanel


class _Watch:
    """Draws what is new of the run on screen; what moves is polled while it is under way."""

    def __init__(self, studio: Studio, session: PageSession, shown: _Shown) -> None:
        self.studio, self.session, self.shown = studio, session, shown
        self.inputs = [session.run_id, session.seen, session.owner, shown.result.order]
        live = shown.live
        # To leave an output as it is costs Gradio about as much as to fill it: the other thirty are not polled.
        ends: list[Block] = [session.timer, session.seen, session.due]
        self.moving: list[Block] = [*live.drawn, shown.subjects, *shown.charts.drawn, *ends]
        self.outputs: list[Block] = [
            *live.drawn,
            shown.subjects,
            *shown.charts.drawn,
            *shown.outcome.drawn,
            *shown.result.drawn,
            *shown.handover.drawn,
            shown.header,
            shown.setup.box,
            shown.details,
            shown.idle,
            live.box,
            live.theirs,
            live.stop,
            live.early,
            live.best,
            live.resume,
            session.timer,
            session.seen,
        ]

    def follow(self, run: str, seen: dict[str, int]) -> list[object]:
        """Values for `moving`; where more is new than that, `tick` is asked for by another value of `due`."""
        nothing = [gr.skip()] * len(self.moving)
        if not run:
            return nothing
        try:
            view = self.studio.view(run)
        except InputError:
            return [*nothing[:-1], secrets.token_hex(4)]
        new = {name for name, version in view.versions.items() if seen.get(name) != version}
        if view.over or "result" in new:
            return [*nothing[:-1], secrets.token_hex(4)]
        if not new:
            return nothing
        pace = gr.Timer(POLL_AT_END) if self._is_near_its_end(run) else gr.skip()
        return [*self._moved(view, seen, new), pace, view.versions, gr.skip()]

    def _is_near_its_end(self, run: str) -> bool:
        """Whether a verdict is soon to come."""
        story = self.studio.live.story(run)
        last = story.steps[-1] if story.stage == "unlearn" and story.steps else None
        return story.stage == _LAST_STAGE or (last is not None and last.step >= _NEAR * last.num_steps)

    def _moved(self, view: LiveView, seen: dict[str, int], new: set[str]) -> list[object]:
        subjects = view.parts["map"] if "map" in new else gr.skip()
        charts = self.shown.charts.changes(view, seen, new)
        return [*self.shown.live.changes(view, new), subjects, *charts]

    def tick(self, run: str, seen: dict[str, int], owner: str, order: str) -> list[object]:
        """Values for `outputs`."""
        nothing = [gr.skip()] * len(self.outputs)
        if not run:
            return nothing
        try:
            view = self.studio.view(run)
        except InputError:  # deleted meanwhile
            return [*nothing[:-2], gr.Timer(active=False), seen]
        new = {name for name, version in view.versions.items() if seen.get(name) != version}
        if not new:  # the audits wake the timer once more when they end
            return [*nothing[:-2], gr.Timer(active=False), seen] if view.over else nothing
        shown = self.shown
        changed = self._moved(view, seen, new)
        if "result" not in new:
            rest = len(self.outputs) - len(changed) - 1
            return [*changed, *[gr.skip()] * rest, view.versions]
        story = self.studio.live.story(run)
        mine = not view.over and self.studio.may_stop(run, owner)
        changed += [*shown.outcome.changes(story), *shown.result.changes(story, order, "over" in new)]
        changed += [*shown.handover.changes(story), run_header(self.studio.title_of(run, owner))]
        if "over" in new:
            changed += [gr.update(open=False), gr.update(visible=True, open=not view.over)]
        else:  # a new verdict leaves folds as the reader has them
            changed += [gr.skip(), gr.skip()]
        changed += [gr.update(visible=False), gr.update(visible=story.verdict is None)]
        again = view.over and self.studio.may_resume(run, owner)
        changed += [gr.update(visible=not mine and not view.over)]
        trains = mine and story.stage == "unlearn" and bool(story.steps)  # before, there is nothing to keep
        changed += [gr.update(visible=mine), *[gr.update(visible=trains)] * 2, gr.update(visible=again)]
        return [*changed, gr.Timer(active=not view.over), view.versions]


def _wire_start(studio: Studio, setup: Setup, watch: _Watch) -> None:
    session = watch.session

    def begin(owner: str, shown: str, *form: Any) -> tuple[object, ...]:
        """Submit a run; from here on the page only watches it."""
        owner = owner or secrets.token_urlsafe(24)
        try:
            run = studio.submit(studio.choices.spec(*form), owner, shown=shown)
        except LetheError as error:
            if error.action is None:
                raise problem(_NOT_RUN, error) from None
            warn(_NOT_RUN, error)
            return gr.skip(), gr.skip(), owner, gr.skip(), problem_box(error)
        return run, {}, owner, gr.Timer(POLL_SECONDS, active=True), gr.skip()

    begun = setup.start.click(
        begin,
        [session.owner, session.run_id, *setup.fields],
        [session.run_id, session.seen, session.owner, session.timer, setup.forecast],
        **PRIVATE,
    )
    begun.success(None, session.run_id, None, js=put("run"), **AT_ONCE)
    drawn = begun.success(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)
    drawn.success(None, js=_LOOK_AT % "#le-run-header", **AT_ONCE)
    session.timer.tick(watch.follow, [session.run_id, session.seen], watch.moving, **AT_ONCE)
    session.due.change(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)


def _wire_stop(studio: Studio, session: PageSession, live: LivePanel) -> None:
    def stop(run: str, owner: str) -> None:
        with toast("This run was not stopped"):
            studio.worker.cancel(run, owner)
        inform("Stopping", "It stops after the present step.")

    def finish(run: str, owner: str, best: bool = False) -> None:
        with toast("This run was not stopped"):
            studio.worker.finish_early(run, owner, best)
        kept = "The best weights so far" if best else "What is trained so far"
        inform("Ending the training", f"{kept} will be kept and scored.")

    for button, act in ((live.stop, stop), (live.early, finish), (live.best, partial(finish, best=True))):
        button.click(act, [session.run_id, session.owner], None, **PRIVATE)


def _wire_resume(studio: Studio, watch: _Watch, live: LivePanel) -> None:
    session = watch.session

    def resume(run: str, owner: str) -> gr.Timer:
        with toast("This run was not resumed"):
            studio.worker.resume(run, owner)
        return gr.Timer(POLL_SECONDS, active=True)

    resumed = live.resume.click(resume, [session.run_id, session.owner], session.timer, **PRIVATE)
    resumed.success(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)


def _wire_load(studio: Studio, page: gr.Blocks, setup: Setup, watch: _Watch, known: gr.HTML) -> Dependency:
    """What a page does when it opens; returns the event that puts a linked run on screen."""
    session = watch.session

    def open_page(owner: str, request: gr.Request) -> tuple[object, ...]:
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

    def offer() -> tuple[object, ...]:
        return gr.update(choices=studio.choices.targets()), gr.update(choices=studio.choices.methods())

    opened = page.load(open_page, session.owner, [session.run_id, session.owner, session.timer], **PRIVATE)
    drawn = opened.then(watch.tick, watch.inputs, watch.outputs, **AT_ONCE)
    drawn.then(None, session.run_id, None, js=_SHOW_RUN, **AT_ONCE)
    # What needs the heavy libraries comes once the page stands.
    offered = opened.then(offer, None, [setup.target, setup.method], **PRIVATE)

    def ask(owner: str, *form: Any) -> Iterator[tuple[object, ...]]:
        told, may_start = studio.choices.known_now(*form, owner=owner)
        if not studio.choices.is_bundled(form[0]):  # of which the first forecast takes seconds
            yield told, may_start, _WORKED_OUT, gr.skip()
        yield told, may_start, *foretell(may_start, *form)

    def foretell(known: bool, *form: Any) -> tuple[object, object]:
        line, fits = studio.choices.forecast(*form)
        return line, gr.update(interactive=known and fits)

    def pick(owner: str, target: str, data: str, brought: Brought, subject: str | None) -> tuple[object, object]:
        choices = studio.choices.subjects(data, brought, owner, target)
        whom = gr.update(choices=choices, value=subject if subject in [name for _, name in choices] else "")
        return whom, gr.update(choices=[studio.choices.demo_data(target)]) if data == "demo" else gr.skip()

    can_succeed = gr.State(True)
    asked = [session.owner, *setup.fields], [known, can_succeed, setup.forecast, setup.start]
    chosen = [session.owner, setup.target, setup.data, setup.brought, setup.subject]
    offered.then(ask, *asked, **PRIVATE)
    offered.then(pick, chosen, [setup.subject, setup.data], **PRIVATE)
    grounds = [setup.target.change, setup.data.change, setup.brought.change]
    # Of several questions at once only the last is answered.
    last: dict[str, Any] = {"trigger_mode": "always_last", **PRIVATE}
    gr.on(grounds, pick, chosen, [setup.subject, setup.data], **last)
    # By hand alone: a form that is filled in from a run keeps that run's method.
    setup.target.input(studio.choices.method_for, [setup.target, setup.data, setup.method], setup.method, **PRIVATE)
    gr.on([*grounds, setup.subject.change], ask, *asked, **last)
    others = (setup.method, setup.settings, setup.adapter, setup.prompt)
    foretold = [can_succeed, *setup.fields], [setup.forecast, setup.start]
    gr.on([field.change for field in others], foretell, *foretold, **last)
    return opened


def _numbers(studio: Studio, run: str) -> Safe:
    """The tables behind the curves up to now."""
    story = studio.live.story(run)
    return join(losses_table(story), probes_table(story)) or tag("p", "No step yet.", class_="le-muted")


_WORKED_OUT = tag("p", "Working out what it will take ...", class_="le-muted", role="status")


def _asking() -> Safe:
    waiting = tag("p", "Asking the model what it knows ...", class_="le-muted", role="status")
    return tag("div", tag("h2", "What it knows now"), waiting, class_="le-card")
