"""The Probe tab: one prompt put to every model, and what each thinks of the gold answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.events import Dependency

from unlearn_core.errors import LetheError
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.kit.models import growing, named
from unlearn_core.report.run.answers.tokens import fade_tables, layers_figure, steps_figure, token_rows, ways_strip
from unlearn_core.report.run.traces import traces_view
from unlearn_core.runs.state import RunState
from unlearn_core.service.answers import Sampling
from unlearn_core.service.prober import SETS, Prober
from unlearn_core.service.studio import Studio
from unlearn_core.store.saved_probes import SavedProbe
from unlearn_core.ui.common import (
    AT_ONCE,
    COPY_LINK,
    GENERATES,
    PRIVATE,
    TO_THE_TAB,
    UNSEEN,
    chart,
    heading,
    inform,
    panel,
    plot,
    sampling_fields,
    toast,
    told_by,
    warn,
)
from unlearn_core.ui.page import RunTab
from unlearn_core.ui.web.addresses import put

_TO_THE_TOP = f"() => {{ ({TO_THE_TAB})(); window.scrollTo({{top: 0}}); }}"
_NO_RUN = ("None: the model alone", "")


def build_probe_tab(studio: Studio, run: RunTab, page: gr.Blocks, tabs: gr.Tabs, tab: gr.Tab) -> None:
    """Lay the tab out and wire it; must be called inside the tab."""
    prober = Prober(studio)
    target, owner = run.setup.target, run.session.owner
    heading("Probe", "Ask each model the same, and see how likely it finds the answer that should be gone.")
    with panel():
        run_id = gr.Dropdown([_NO_RUN], value="", label="Run", min_width=240, elem_id="le-probe-run")
        with gr.Row(elem_classes=["le-choices"]):
            split = gr.Radio(list(SETS), value="forget", label="Ready probes", scale=2, min_width=340)
            fact = gr.Dropdown(
                [],
                label="Fact",
                scale=4,
                min_width=240,
                elem_id="le-fact",
                allow_custom_value=True,
                info="Or type your own",
            )
        prompt = gr.Textbox(
            label="Prompt",
            lines=2,
            max_lines=6,
            elem_id="le-prompt",
            max_length=4000,
            placeholder="Type a question, or how a story begins",
        )
        answer = gr.Textbox(
            label="Gold answer",
            lines=1,
            max_lines=4,
            elem_id="le-gold",
            max_length=4000,
            info="What is looked for; without it the models only answer",
        )
        with gr.Accordion("Sampling", open=False), gr.Row(elem_classes=["le-fields"]):
            tokens, heat = sampling_fields(studio.public, tokens=64)
            top_p = gr.Slider(0.05, 1, value=1, step=0.05, label="Top p", info="1 keeps every token")
            seed = gr.Number(0, label="Sampling seed", precision=0)
            template = gr.Checkbox(False, label="Chat template", info="As a user's turn", visible=False)
        with gr.Row(elem_classes=["le-buttons"]):
            ask = gr.Button("Ask every model", variant="primary", elem_id="le-ask")
            save = gr.Button("Save to the run", size="sm", elem_id="le-save-probe")
            gr.Button("Copy the link", size="sm").click(None, js=COPY_LINK, **AT_ONCE)
    answers = gr.HTML(elem_id="le-answers")
    with gr.Column(visible=False) as looked:
        heading("Token by token", "How likely each model finds the gold answer, whatever it wrote above.")
        with panel():
            inside = gr.HTML(elem_id="le-tokens")
        heading("How the answer faded", "Read from inside the model layer by layer, and along the training.")
        with gr.Row():
            with panel(min_width=300):
                gr.HTML(tag("div", tag("h3", "Per layer (logit lens)"), class_="le-plot-title"))
                layers = chart("le-layers")
                layer_rows = gr.HTML()
            with panel(min_width=300):
                gr.HTML(tag("div", tag("h3", "Per training step"), class_="le-plot-title"))
                steps = chart("le-steps")
                step_rows = gr.HTML(elem_id="le-step-rows")
        heading("The same fact asked otherwise", "Which way of asking still gets it: greedy answers.")
        with panel():
            ways = gr.HTML(elem_id="le-ways")
    heading("What single neurons write", "Those that add most to the answers, as words, before and after.")
    with panel():
        with gr.Row(elem_classes=["le-buttons"]):
            read = gr.Button("Read the neurons of this run", size="sm", elem_id="le-read-traces")
        traces = gr.HTML(elem_id="le-traces")
    asked = [prompt, answer, split, tokens, heat, top_p, seed, template]
    saved = gr.Textbox("", label="Saved probe", **UNSEEN)

    def read_neurons(run: str, place: str) -> Iterator[object]:
        yield tag("p", "Reading the neurons of both models ...", class_="le-muted", role="status")
        try:
            with toast("The neurons cannot be read"):
                found = traces_view(prober.traces(run, place))
        except gr.Error:
            yield ""
            raise
        yield found

    reply, look, ask_otherwise = _asking(studio, prober)
    answered = gr.State(())  # run, target and form of the answers that are shown: the fields may hold the next question

    def ask_when(event: Callable[..., Dependency], asked_of: Block = run_id) -> None:
        """Answers as they are written, then the answer's tokens and layers, then the ways of asking."""
        told = event(reply, [asked_of, target, *asked], [answers, looked, answered], **GENERATES)
        seen = told.success(look, answered, [inside, layers, layer_rows, steps, step_rows, ways], **GENERATES)
        seen.success(ask_otherwise, answered, ways, **GENERATES)

    read.click(read_neurons, [run_id, target], traces, **GENERATES)
    ask_when(ask.click)
    ask_when(prompt.submit)

    def offer(run: str, kind: str, place: str) -> tuple[object, ...]:
        """The ready probes of the run on screen, and whether its model has a chat template."""
        try:
            choices = prober.facts(run, kind)
            chat, used = studio.answers.has_template(run, place)
        except LetheError:
            choices, chat, used = [], False, False
        return gr.update(choices=choices, value=None), gr.update(visible=chat, value=used)

    def fill(run: str, place: str | None) -> tuple[object, ...]:
        if not place:
            return gr.skip(), gr.skip()
        try:
            row = prober.fact(run, place)
        except LetheError:  # words of one's own
            return place, ""
        return row.input, row.output

    def open_tab(on_screen: str, before: str, place: str, token: str) -> object:
        """The runs that can be asked. The one on screen first, else the one asked before, else the newest of the
        chosen model."""
        records = studio.attackable(token)
        offered = [_NO_RUN, *studio.run_choices(records)]
        known = [value for _, value in offered]
        if on_screen and on_screen not in known:
            offered.append(("The run on screen", on_screen))
        newest = (record.id for record in records if record.spec.get("target") == place)
        pick = on_screen or (before if before in known else "") or next(newest, "")
        return gr.update(choices=offered, value=pick)

    asks = offer, [run_id, split, target], [fact, template]
    opened = tab.select(open_tab, [run.session.run_id, run_id, target, owner], run_id, **PRIVATE)
    opened.then(*asks, **PRIVATE)
    for event in (run_id.input, split.input):
        event(*asks, **PRIVATE)
    fact.input(fill, [run_id, fact], [prompt, answer], **PRIVATE)
    linked = _wire_saving(prober, page, tabs, save, saved, run.session.run_id, run_id, owner, asked)
    ask_when(linked, run.session.run_id)
    ask_when(_wire_map(prober, run, tabs, run_id, asked), run.session.run_id)


def _asking(studio: Studio, prober: Prober) -> tuple[Callable[..., object], ...]:
    """The three things done with a probe, in order; the first takes the run, the target and the form, and gives them to
    the others."""

    def reply(run: str, place: str, *form: Any) -> Iterator[tuple[object, ...]]:
        probe = _probe(*form)
        with toast("No answer"):
            last: dict[str, str] = {}
            sampling = Sampling(probe.max_new_tokens, probe.temperature, probe.top_p, probe.seed, probe.template)
            for last in studio.ask(run, place, probe.prompt, sampling):
                yield columns(last, done=False), gr.skip(), gr.skip()
            looked = gr.update(visible=bool(probe.answer.strip()))
            yield columns(last, done=True, gold=probe.answer), looked, (run, place, *form)

    def look(answered: tuple[Any, ...]) -> tuple[object, ...]:
        if not answered or not (probe := _probe(*answered[2:])).answer.strip():
            return tuple([gr.skip()] * 6)
        run, place = answered[:2]
        with toast("The answer cannot be looked at"):
            seen = prober.inspect(run, place, probe.prompt, probe.answer)
        story = studio.live.story(run) if run else RunState()
        by_layer, by_step = fade_tables(seen, story, probe.prompt)
        curve = plot(steps_figure(story, probe.prompt))
        waiting = tag("p", "Asking otherwise ...", class_="le-muted", role="status")
        return token_rows(seen), plot(layers_figure(seen)), by_layer, curve, by_step, waiting

    def ask_otherwise(answered: tuple[Any, ...]) -> Iterator[object]:
        if not answered or not (probe := _probe(*answered[2:])).answer.strip():
            yield gr.skip()
            return
        run, place = answered[:2]
        with toast("It could not be asked otherwise"):
            for told in prober.ways(run, place, probe):
                yield ways_strip(told, probe.split == "forget")

    return reply, look, ask_otherwise


def _wire_saving(
    prober: Prober,
    page: gr.Blocks,
    tabs: gr.Tabs,
    save: gr.Button,
    saved: gr.Textbox,
    on_screen: gr.Textbox,
    run_id: gr.Dropdown,
    owner: gr.BrowserState,
    asked: Sequence[Block],
) -> Callable[..., Dependency]:
    """A saved probe is in the run's folder and in the address; opening that address asks it again."""

    def keep(run: str, token: str, *form: Any) -> str:
        with toast("This probe was not saved"):
            kept = prober.save(run, _probe(*form), token)
        inform("Saved to the run", "The address of this page now leads to it.")
        return kept

    def follow(request: gr.Request) -> tuple[object, ...]:
        tab, run, wanted, subject = (request.query_params.get(key, "") for key in ("tab", "run", "probe", "about"))
        nothing = (*[gr.skip()] * (len(asked) + 3), "")
        subject = subject if tab == "probe" else ""  # elsewhere it is who was asked about before
        if not (run and (wanted or subject)):
            return nothing
        try:
            probe = prober.find(run, wanted) if wanted else prober.about(run, subject)
        except LetheError as error:
            warn("No such probe", error)
            return nothing
        return *_form(probe), gr.Tabs(selected="probe"), run, _on_screen(run), probe.id

    save.click(keep, [run_id, owner, *asked], saved, **PRIVATE).success(None, saved, None, js=put("probe"), **AT_ONCE)
    linked = gr.Textbox("", label="Linked probe", **UNSEEN)
    page.load(follow, None, [*asked, tabs, on_screen, run_id, linked], **PRIVATE)
    changed: Callable[..., Dependency] = linked.change  # only a link that was found changes it
    return changed


def _on_screen(run: str) -> object:
    """The choice of the run that is on screen."""
    return gr.update(choices=[("The run on screen", run)], value=run)


def _wire_map(
    prober: Prober, run: RunTab, tabs: gr.Tabs, run_id: gr.Dropdown, asked: Sequence[Block]
) -> Callable[..., Dependency]:
    """The subject whose mark on the map is pressed is asked about here, and is in the address."""
    chosen = gr.Textbox("", label="Subject of the map", **UNSEEN)

    def fill(on_screen: str, event: gr.EventData) -> tuple[object, ...]:
        with toast("Not asked"):
            name = str(told_by(event).get("subject", ""))
            probe = prober.about(on_screen, name)
        return *_form(probe), _on_screen(on_screen), gr.Tabs(selected="probe"), name

    pressed = run.map.select(fill, run.session.run_id, [*asked, run_id, tabs, chosen], **PRIVATE)
    kept = pressed.success(None, chosen, None, js=put("about"), **AT_ONCE)
    shown: Dependency = kept.success(None, js=_TO_THE_TOP, **AT_ONCE)
    asking: Callable[..., Dependency] = shown.success
    return asking


def _form(probe: SavedProbe) -> tuple[object, ...]:
    """The fields of a probe in the order of the form; the inverse of `_probe`."""
    sampling = (probe.max_new_tokens, probe.temperature, probe.top_p, probe.seed)
    return probe.prompt, probe.answer, probe.split, *sampling, probe.template


def _probe(
    prompt: str,
    answer: str,
    split: str,
    tokens: float,
    heat: float,
    top_p: float,
    seed: float | None,
    template: bool,
) -> SavedProbe:
    sampling = int(tokens), float(heat), float(top_p), int(seed or 0)
    return SavedProbe(prompt or "", answer or "", split, *sampling, bool(template))


def columns(answers: dict[str, str], done: bool, gold: str = "") -> Safe:
    """The answers so far; of finished ones each says whether it is the gold answer, where there is one."""
    marked = done and gold.strip()
    parts = ((name, named(name, " ", _told(words, gold) if marked else None), words) for name, words in answers.items())
    return growing(parts, done, "le-answers le-card")


def _told(words: str, gold: str) -> Safe:
    """Whether an answer is the gold one."""
    from unlearn_core.evaluation.metrics.contained import contains

    exact = " ".join(words.split()).casefold().strip(" .") == " ".join(gold.split()).casefold().strip(" .")
    told = "exact" if exact else "told" if contains(words, gold) else "not the answer"
    return tag("span", told, class_="le-tag")
