"""A sweep from the page: a small grid of settings and seeds, queued as runs that carry one tag."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

import gradio as gr
from gradio.events import Dependency

from unlearn_core.errors import InputError
from unlearn_core.jobs import sweep
from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe
from unlearn_core.report.runs.runs_table import sweep_panel
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, PRIVATE, inform, panel, toast
from unlearn_core.ui.page import RunTab

_NONE = ("None", "")


def sweep_form(studio: Studio, run: RunTab, tab: gr.Tab, reread: Callable[[Dependency], object]) -> None:
    """Lay the form out. Target and data are those chosen on the first tab; `reread` refreshes the table."""
    owner = run.session.owner
    box = gr.Accordion("Sweep a method over a small grid", open=False, visible=not studio.public, elem_id="le-sweep")
    with box, panel():
        with gr.Row():
            method = gr.Dropdown(
                [("Lethe (matched forgetting)", "lethe")],
                value="lethe",
                label="Method swept",
                info="Model and data are those of the first tab",
                min_width=200,
            )
            seeds = gr.Textbox("0", label="Seeds", info="0, 1, 2 or 0-4", min_width=140, elem_id="le-seeds")
        names, values = [], []
        for place in ("First", "Second"):
            with gr.Row():
                names.append(gr.Dropdown([_NONE], value="", label=f"{place} setting", min_width=200))
                values.append(
                    gr.Textbox(
                        label=f"{place} setting's values",
                        placeholder="0.05, 0.1, 0.2",
                        info="Separated by commas",
                        min_width=200,
                    )
                )
        with gr.Row(elem_classes=["le-buttons"]):
            start = gr.Button("Start the sweep", size="sm", variant="primary", elem_id="le-sweep-start")
            stop = gr.Button("Cancel all its runs", size="sm", visible=False, elem_id="le-sweep-stop")
        shown = gr.HTML(elem_id="le-sweep-progress")
    current, timer = gr.State(""), gr.Timer(2.0, active=False)

    def offer(token: str) -> tuple[object, ...]:
        """The methods, and the newest sweep of this visitor that is still under way."""
        return gr.update(choices=studio.choices.methods()), sweep.latest(studio.store, studio.mine(token))

    def settings_of(name: str) -> tuple[object, ...]:
        studio.warm_up()
        from unlearn_core.methods import REGISTRY

        found = [(p.name, p.name) for p in REGISTRY[name].parameters()] if name in REGISTRY else []
        return tuple(gr.update(choices=[_NONE, *found], value="") for _ in names)

    def begin(
        token: str,
        name: str,
        numbers: str,
        first: str,
        first_values: str,
        second: str,
        second_values: str,
        *form: Any,
    ) -> tuple[object, ...]:
        token = token or secrets.token_urlsafe(24)
        with toast("This sweep cannot be run"):
            if first and first == second:
                raise InputError("settings", first, "is chosen twice", "Choose two different settings.")
            target, data, _, _, brought, _, adapter, *rest = form
            base = studio.choices.spec(target, data, name, {}, brought, 0, adapter, *rest)
            chosen = {first: first_values, second: second_values}
            wanted = {key: sweep.parse_values(text) for key, text in chosen.items() if key}
            specs = sweep.grid(base, wanted, sweep.parse_seeds(numbers))
            found = studio.sweep(specs, token)
        inform("Sweep started", f"{count(len(specs), 'run')} queued.")
        return found, token, gr.Timer(active=True)

    def look(found: str, token: str) -> tuple[object, ...]:
        hidden = gr.update(visible=False)
        if not found:
            return Safe(""), hidden, gr.Timer(active=False)
        try:
            state = sweep.state(studio.store, found, studio.mine(token))
        except InputError:  # deleted meanwhile
            return Safe(""), hidden, gr.Timer(active=False)
        return sweep_panel(state), gr.update(visible=not state.over), gr.Timer(active=not state.over)

    def cancel(found: str, token: str) -> None:
        with toast("Not cancelled"):
            number = sweep.cancel(studio.worker, found, token)
        inform("Sweep cancelled", f"{count(number, 'run')} stopped or taken from the queue.")

    watched = [shown, stop, timer]
    method.change(settings_of, method, names, **PRIVATE)
    tab.select(offer, owner, [method, current], **PRIVATE).then(look, [current, owner], watched, **AT_ONCE).then(
        settings_of, method, names, **PRIVATE
    )
    grid = [names[0], values[0], names[1], values[1]]
    begun = start.click(begin, [owner, method, seeds, *grid, *run.setup.fields], [current, owner, timer], **PRIVATE)
    reread(begun.success(look, [current, owner], watched, **AT_ONCE))
    timer.tick(look, [current, owner], watched, **AT_ONCE)
    reread(stop.click(cancel, [current, owner], None, **PRIVATE).then(look, [current, owner], watched, **AT_ONCE))
