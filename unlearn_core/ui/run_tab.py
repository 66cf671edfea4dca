"""The main tab: choose, press once, watch, and read the verdict. Results come before configuration."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.errors import InputError, LetheError
from unlearn_core.report.breakdown import breakdown
from unlearn_core.report.format import split_title
from unlearn_core.report.markup import Safe, join, tag, text
from unlearn_core.report.reproduce import command
from unlearn_core.report.sidebyside import ORDERS, side_by_side, splits
from unlearn_core.report.verdict import summary
from unlearn_core.ui.settings_form import settings_form
from unlearn_core.ui.studio import Studio

FIRST_SHOWN = 6
POLL_SECONDS = 1.0
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
POLLED: dict[str, Any] = PRIVATE | {"queue": False}

_SET_LINK = "(run) => { const url = new URL(window.location); run ? url.searchParams.set('run', run) : " \
    "url.searchParams.delete('run'); window.history.replaceState({}, '', url); }"
_COPY = "() => { navigator.clipboard.writeText(document.querySelector('#%s code').textContent); }"
_TO_RUN = "() => { document.querySelector('#le-run')?.scrollIntoView({behavior: 'smooth', block: 'start'}); }"


@dataclass(frozen=True)
class RunTab:
    """What other tabs need of this one."""

    target: gr.Dropdown
    data: gr.Dropdown
    retain: gr.State
    run_id: gr.State
    owner: gr.BrowserState


def heading(title: str, aside: str = "") -> gr.HTML:
    """A section's heading."""
    return gr.HTML(tag("div", tag("h2", title), tag("p", aside) if aside else None, class_="le-heading"))


def build_run_tab(studio: Studio, page: gr.Blocks) -> RunTab:
    """Lay the tab out and wire it; must be called inside the tab."""
    run_id, seen, link = gr.State(""), gr.State({}), gr.Textbox(visible="hidden", elem_id="le-link")
    owner = gr.BrowserState("", storage_key="lethe-owner", secret="lethe-browser-state")
    settings, retain, shown = gr.State({}), gr.State(""), gr.State(FIRST_SHOWN)

    with gr.Column(elem_classes=["le-panel", "le-setup"]):
        with gr.Row(equal_height=False):
            target = gr.Dropdown(
                choices=[("Bundled model (synthetic world)", "demo")], value="demo", label="Target model",
                allow_custom_value=not studio.public,
                info="Bundled, a folder, or a Hub id" if not studio.public else "The bundled model", min_width=220,
            )  # fmt: skip
            data = gr.Dropdown(
                choices=[("Bundled world (synthetic)", "demo")], value="demo", label="Forget set",
                allow_custom_value=True, info="More under the tab Data", min_width=220,
            )  # fmt: skip
            method = gr.Dropdown(
                choices=[("Lethe (matched forgetting)", "lethe")], value="lethe", label="Method",
                info="How the model is made to forget", min_width=220,
            )  # fmt: skip
            start = gr.Button("Make it forget", variant="primary", size="lg", elem_id="le-start", min_width=200)
        with gr.Accordion("Method settings", open=False):
            settings_form(method, settings)
            with gr.Row():
                seed = gr.Number(0, label="Seed", precision=0, info="The same seed gives the same run")
                adapter = gr.Radio(
                    [("Choose by size", "auto"), ("Full weights", "full"), ("LoRA", "lora")], value="auto",
                    label="What is trained", info="LoRA trains small added matrices only",
                )  # fmt: skip

    with gr.Column() as idle:
        known = gr.HTML(_asking(), elem_id="le-knows")

    with gr.Column(visible=False, elem_id="le-run") as result:
        verdict = gr.HTML(elem_id="le-verdict")
        heading("Side by side", "The same prompts put to each model, greedy, with nothing but the prompt.")
        with gr.Column(elem_classes=["le-panel"]):
            with gr.Row():
                split = gr.Radio(choices=["forget"], value="forget", label="Prompts", scale=3)
                order = gr.Radio(list(ORDERS), value=ORDERS[0], label="Order", scale=2)
            cards = gr.HTML(elem_id="le-side-by-side")
            more = gr.Button("Show more", size="sm")
        heading("The twelve terms", "What the task aggregate is the harmonic mean of.")
        terms = gr.HTML(elem_id="le-breakdown")

    with gr.Column(visible=False) as live:
        with gr.Row(equal_height=False):
            progress = gr.HTML(elem_id="le-progress", min_width=260)
        with gr.Row():
            stop = gr.Button("Stop", variant="secondary", size="sm", visible=False, elem_id="le-stop", scale=0)
            again = gr.Button("New run", variant="secondary", size="sm", visible=False, scale=0)
        with gr.Row(equal_height=False):
            with gr.Column(elem_classes=["le-panel"], min_width=300):
                gr.HTML(_plot_heading("Loss", "nats per token. Forget should rise, retain should stay low."))
                losses = gr.Plot(show_label=False, elem_id="le-losses")
            with gr.Column(elem_classes=["le-panel"], min_width=300):
                gr.HTML(_plot_heading("Secrets", "Probability of each watched answer; bold is the average."))
                facts = gr.Plot(show_label=False, elem_id="le-facts-plot")
        fact_rows = gr.HTML(elem_id="le-facts")

    with gr.Column(visible=False) as share:
        heading("Repeat and share")
        with gr.Column(elem_classes=["le-panel"]):
            repeat = gr.HTML(elem_id="le-command")
            with gr.Row():
                copy = gr.Button("Copy the command", size="sm", scale=0)
                copy_link = gr.Button("Copy a link to this run", size="sm", scale=0)

    timer = gr.Timer(POLL_SECONDS, active=False)
    drawn = [progress, losses, facts, fact_rows, verdict, cards, terms, repeat, split, idle, live, result, share]
    drawn += [stop, again, timer, seen]
    where = [run_id, seen, owner, order]

    def tick(run: str, known_versions: dict[str, int], token: str, in_order: str) -> list[Any]:
        """What has changed of the run since this viewer last looked, in the order of `drawn`."""
        if not run:
            return [gr.skip()] * len(drawn)
        view = studio.live.view(run, studio.position(run))
        new = {name for name, version in view.versions.items() if known_versions.get(name) != version}
        if not new:
            return [gr.skip()] * len(drawn)
        parts, first = view.parts, not known_versions
        out = dict.fromkeys(drawn, gr.skip())
        if "progress" in new:
            out[progress] = parts["progress"]
        if "losses" in new:
            out[losses] = parts["losses"]
        if "facts" in new:
            out[facts], out[fact_rows] = parts["facts"]
        if first:
            out[idle], out[live] = gr.update(visible=False), gr.update(visible=True)
        if "result" in new:
            out |= ended(run, view.over, in_order, studio.may_stop(run, token))
        out[seen] = view.versions
        return list(out.values())

    def ended(run: str, over: bool, in_order: str, mine: bool) -> dict[Any, Any]:
        """The parts that change when a run begins to be watched, and when it ends."""
        story = studio.live.story(run)
        kinds = splits(story.scores)
        chosen = kinds[0] if kinds else "forget"
        judged = over and "unlearned" in story.scores
        return {
            verdict: summary(story) if over else "",
            cards: side_by_side(story.scores, chosen, in_order, FIRST_SHOWN) if judged else "",
            terms: breakdown(story.scores) if judged else "",
            repeat: _repeat(command(story.spec)) if story.spec else "",
            split: gr.update(choices=[(split_title(kind), kind) for kind in kinds], value=chosen),
            result: gr.update(visible=over),
            share: gr.update(visible=over and bool(story.spec)),
            stop: gr.update(visible=not over and mine),
            again: gr.update(visible=over),
            timer: gr.Timer(active=not over),
        }

    def begin(
        to: str, what: str, how: str, form: dict[str, Any], keep: str, number: float, train: str, token: str
    ) -> tuple[Any, ...]:
        """Submit a run; the page then only watches it."""
        token = token or secrets.token_urlsafe(24)
        try:
            chosen = studio.spec(to, what, how, form, keep, number, train)
            run = studio.submit(chosen, token)
        except LetheError as error:
            raise gr.Error(str(text(error)), title="This cannot be run", print_exception=False) from None
        return run, run, {}, token, gr.Timer(active=True), FIRST_SHOWN

    def halt(run: str, token: str) -> None:
        try:
            studio.cancel(run, token)
        except LetheError as error:
            raise gr.Error(str(text(error)), title="This run was not stopped", print_exception=False) from None

    def choose(run: str, kind: str, in_order: str, count: int) -> Safe | dict[str, Any]:
        if not run:
            return gr.skip()
        return side_by_side(studio.live.story(run).scores, kind, in_order, count)

    def forget_run() -> tuple[Any, ...]:
        hidden, visible = gr.update(visible=False), gr.update(visible=True)
        return "", "", {}, gr.Timer(active=False), visible, hidden, hidden, hidden

    def open_page(request: gr.Request, token: str) -> tuple[Any, ...]:
        """A link `?run=ID` shows that run; a browser without a token of its own gets one."""
        token = token or secrets.token_urlsafe(24)
        run = request.query_params.get("run", "")
        if run:
            try:
                studio.live.story(run)
            except InputError as error:
                gr.Warning(str(text(error)), title="No such run")
                run = ""
        return run, run, token, gr.Timer(active=bool(run))

    def offer() -> tuple[Any, ...]:
        return gr.update(choices=studio.targets()), gr.update(choices=studio.methods())

    begun = start.click(
        begin, [target, data, method, settings, retain, seed, adapter, owner],
        [run_id, link, seen, owner, timer, shown], queue=False, **PRIVATE,
    )  # fmt: skip
    begun.success(None, link, None, js=_SET_LINK, **POLLED)
    begun.success(tick, where, drawn, **POLLED).success(None, js=_TO_RUN, **POLLED)
    timer.tick(tick, where, drawn, **POLLED)
    stop.click(halt, [run_id, owner], None, **POLLED)
    again.click(
        forget_run, None, [run_id, link, seen, timer, idle, live, result, share], **POLLED
    ).success(None, link, None, js=_SET_LINK, **POLLED)  # fmt: skip
    for chooser in (split.input, order.input):
        chooser(lambda: FIRST_SHOWN, None, shown, **POLLED).then(
            choose, [run_id, split, order, shown], cards, **POLLED
        )
    more.click(lambda count: count + 12, shown, shown, **POLLED).then(
        choose, [run_id, split, order, shown], cards, **POLLED
    )
    copy.click(None, js=_COPY % "le-command", **POLLED)
    copy_link.click(None, js="() => { navigator.clipboard.writeText(window.location.href); }", **POLLED)
    opened = page.load(open_page, owner, [run_id, link, owner, timer], **POLLED)
    opened.then(tick, where, drawn, **POLLED)
    # What needs the heavy libraries comes after the page stands.
    opened.then(offer, None, [target, method], **PRIVATE).then(studio.known_now, target, known, **PRIVATE)
    return RunTab(target, data, retain, run_id, owner)


def _plot_heading(title: str, aside: str) -> Safe:
    return join(tag("h3", title), tag("p", aside, class_="le-muted"))


def _repeat(line: str) -> Safe:
    told = tag("p", "The same run from a terminal, with the same scores:", class_="le-muted")
    return join(told, tag("pre", tag("code", line), class_="le-code", tabindex="0"))


def _asking() -> Safe:
    waiting = tag("p", "Asking the model what it knows ...", class_="le-muted", role="status")
    return tag("div", tag("h2", "What it knows now"), waiting, class_="le-card")
