"""Attack a finished run: choose, press once, watch, and read the leakage card.

The audits run in the worker's thread and write themselves down; the page only reads, so that a reload and
a second viewer see the same.
"""

from __future__ import annotations

import gradio as gr

from unlearn_core.errors import LetheError
from unlearn_core.limits import AUDIT_SECONDS
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.run.leakage import audits_progress, leakage_card
from unlearn_core.report.run.verdict import banner
from unlearn_core.runs.audit_record import OPEN, AuditRecord
from unlearn_core.service.studio import Studio
from unlearn_core.store.audit_record import read_audits
from unlearn_core.store.audits import BUDGET
from unlearn_core.ui.common import AT_ONCE, CHOSEN, PRIVATE, heading, inform, panel, problem, toast
from unlearn_core.ui.page import POLL_SECONDS, RunTab

MAX_BUDGET = 600  # seconds that the page offers; the command line knows no limit
_NO_RUNS = "No finished run with kept weights yet. Press Make it forget on the first tab, then attack it here."
_THEIRS = "Only the browser that started this run can attack it here."
_RECORDED = "Recorded with Lethe: what its attacks found is shown. Make a run of your own to attack that anew."
_NOT_YET = "Not attacked yet. Sixteen attacks, as many as fit into the time budget; what does not fit is named."


def build_attack_tab(studio: Studio, run: RunTab, tab: gr.Tab) -> None:
    """Lay the tab out and wire it; must be called inside the tab."""
    session = run.session
    heading("Attack", "What is gone stays gone under attack; what is only hidden comes back.")
    with panel():
        with gr.Row():
            chosen = gr.Dropdown([], label="Run", scale=3, min_width=240, elem_id="le-attack-run")
            budget = gr.Slider(
                10,
                AUDIT_SECONDS if studio.public else MAX_BUDGET,
                value=BUDGET,
                step=5,
                label="Time budget",
                scale=2,
                min_width=220,
                info="In seconds, by estimate: what would not fit is named, and an attack under way is finished",
            )
        with gr.Accordion("Which attacks", open=False):
            names = gr.CheckboxGroup([], label="Attacks", elem_id="le-attack-names")
            ideas = gr.HTML()
        with gr.Row(elem_classes=["le-buttons"]):
            start = gr.Button("Attack it", variant="primary", elem_id="le-attack-start")
            stop = gr.Button("Stop", visible=False, elem_id="le-attack-stop")
    progress = gr.HTML(elem_id="le-attack-progress")
    card = gr.HTML(elem_id="le-leakage")
    seen = gr.State("")
    timer = gr.Timer(POLL_SECONDS, active=False)
    drawn = [progress, card, start, stop, timer, session.timer, seen]

    def look(run_id: str, version: str, owner: str) -> list[object]:
        """What is new of the audits of a run."""
        record = _read(studio, run_id)
        position = studio.worker.audits_position(run_id) or 0 if run_id else 0
        present = f"{run_id} {position} {record}"
        if present == version:
            return [gr.skip()] * len(drawn)
        mine = bool(run_id) and studio.may_stop(run_id, owner)
        return [*_draw(studio, run_id, record, position, mine), present]

    def open_tab(on_screen: str, before: str, owner: str) -> tuple[object, ...]:
        """The runs that can be attacked, the one on screen first chosen; the attacks."""
        offered = studio.run_choices(studio.attackable(owner))
        known = [value for _, value in offered]
        pick = next((run_id for run_id in (on_screen, before) if run_id in known), known[0] if known else None)
        titles = studio.choices.audit_titles()
        attacks = gr.update(choices=[(title, name) for name, title in titles.items()], value=list(titles))
        return gr.update(choices=offered, value=pick), attacks, _ideas(studio), ""

    def begin(run_id: str, seconds: float, wanted: list[str], owner: str) -> gr.Timer:
        with toast("This cannot be attacked"):
            if not run_id:
                raise problem("Nothing to attack", _NO_RUNS)
            studio.attack(run_id, float(seconds), wanted, owner)
        return gr.Timer(active=True)

    def halt(run_id: str, owner: str) -> None:
        with toast("This was not stopped"):
            studio.worker.cancel_audits(run_id, owner)
        inform("Stopping", "It stops after the present step; what was found stays.")

    inputs = [chosen, seen, session.owner]
    opened = tab.select(open_tab, [session.run_id, chosen, session.owner], [chosen, names, ideas, seen], **PRIVATE)
    opened.then(look, inputs, drawn, **AT_ONCE)
    chosen.input(look, inputs, drawn, **CHOSEN)
    begun = start.click(begin, [chosen, budget, names, session.owner], timer, **PRIVATE)
    begun.success(look, inputs, drawn, **AT_ONCE)
    stop.click(halt, [chosen, session.owner], None, **PRIVATE)
    timer.tick(look, inputs, drawn, **AT_ONCE)


def _draw(studio: Studio, run_id: str | None, record: AuditRecord | None, position: int, mine: bool) -> list[object]:
    """Progress, verdict and card, the two buttons, this tab's timer, and that of the run on screen, whose verdict
    the attacks change."""
    titles = studio.choices.audit_titles()
    if not run_id or record is None:
        return [
            tag("p", _NO_RUNS if not run_id else _NOT_YET if mine else _THEIRS, class_="le-muted"),
            "",
            gr.update(interactive=mine),
            gr.update(visible=False),
            gr.Timer(active=False),
            gr.skip(),
        ]
    under_way = record.status in OPEN
    results = {name: record.results[name] for name in (*titles, *record.results) if name in record.results}
    skipped = {name: why for name, why in record.skipped.items() if name not in record.results}
    theirs = "" if mine else tag("p", _RECORDED if studio.store.get(run_id).is_recorded else _THEIRS, class_="le-muted")
    made = audits_progress(record, titles, position) if record.created else tag("p", _NOT_YET, class_="le-muted")
    return [
        join(theirs, made),
        join("" if under_way else _verdict(studio, run_id), leakage_card(results.values(), titles, skipped)),
        gr.update(interactive=not under_way and mine),
        gr.update(visible=under_way and mine),
        gr.Timer(active=under_way),
        gr.skip() if under_way else gr.Timer(active=True),
    ]


def _verdict(studio: Studio, run_id: str) -> Safe:
    """The verdict as the attacks left it."""
    try:
        return banner(studio.live.story(run_id))
    except LetheError:  # deleted meanwhile
        return Safe("")


def _read(studio: Studio, run_id: str | None) -> AuditRecord | None:
    try:
        return read_audits(studio.store, run_id, studio.live.story(run_id)) if run_id else None
    except LetheError:  # deleted meanwhile
        return None


def _ideas(studio: Studio) -> Safe:
    """What each attack does, and where it comes from."""
    rows = [
        tag("li", tag("strong", audit["title"]), f". {audit['idea']} {audit['source']}.")
        for audit in studio.choices.audits()
    ]
    return tag("ul", *rows, class_="le-ideas")
