"""A finished run handed over: its report, its certificate, its weights or adapter, a model on the Hub, or the command
that repeats it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr
from gradio.blocks import Block

from unlearn_core.report.export.hub_export import KINDS
from unlearn_core.report.export.reproduce import command
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.runs.state import RunState
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, COPY, COPY_LINK, download, heading, inform, panel, toast

_TITLES = {"weights": "Weights", "adapter": "LoRA adapter", "gguf": "GGUF"}
_COPY_COMMAND = COPY % "document.querySelector('#le-command code').textContent"
_TOKEN = "The token is read from HF_TOKEN on this machine. The repository is private."


@dataclass(frozen=True)
class HandoverPanel:
    """The components; exporting needs weights, the report does not."""

    box: gr.Column
    export: gr.Column
    repeat: gr.Column
    command: gr.HTML

    @property
    def drawn(self) -> list[Block]:
        return [self.box, self.export, self.repeat, self.command]

    def changes(self, story: RunState) -> list[object]:
        """Values for `drawn`."""
        over, kept = story.end is not None, bool(getattr(story.end, "artifact", ""))
        line = Safe("")
        if story.spec:
            words = tag("code", command(story.spec))
            line = tag("pre", words, class_="le-code", tabindex="0", aria_label="Command")
        visible = over, kept, over and bool(story.spec)
        return [*(gr.update(visible=now) for now in visible), line]


def handover_panel(
    studio: Studio, run_id: gr.Textbox, owner: gr.BrowserState, html: gr.Button, certificate: gr.Button
) -> HandoverPanel:
    """Lay it out and wire it; `html` and `certificate` are the buttons under the result. Uploading is for one's own
    machine, whose token it uses."""
    with gr.Column(visible=False) as box:
        heading("What the certificate says", "One page to hand over; lethe verify FILE checks that it is unchanged.")
        with panel():
            with gr.Row():
                request = gr.Textbox(label="Request", placeholder="The run's id", max_length=80, min_width=180)
                responsible = gr.Textbox(label="Responsible person", max_length=80, min_width=180)
            show = gr.Checkbox(False, label="Show answers and names", info="They are masked otherwise")
        heading("Report and export", "One offline page about the run; the model with its card.")
        with panel():
            with gr.Row(elem_classes=["le-buttons"]):
                plain = gr.Button("Report as JSON", size="sm", elem_id="le-report-json")
                site = gr.Button("Page for a static host", size="sm", elem_id="le-site")
                moving = gr.Button("Moving picture of the fade", size="sm", elem_id="le-picture")
            with gr.Column(visible=False) as export:
                kind = gr.Radio([(_TITLES[name], name) for name in KINDS], value="weights", label="Exported")
                with gr.Row(elem_classes=["le-buttons"]):
                    save = gr.Button("Export as zip", size="sm", elem_id="le-export")
                if not studio.public:
                    _hub_form(studio, run_id, kind, owner)

    def report(form: str) -> Callable[[str], str]:
        def make(run: str) -> str:
            with toast("No report"):
                path = str(studio.report(run, form))
            inform("Report saved", "It is among your downloads.")
            return path

        return make

    def certified(run: str, request: str, responsible: str, show: bool) -> str:
        with toast("No certificate"):
            path = str(studio.certificate(run, request, responsible, show))
        inform("Certificate saved", "Names and answers are shown." if show else "Names and answers are masked.")
        return path

    def picture(run: str, token: str) -> str:
        with toast("No picture"):
            return str(studio.picture(run, token))

    def zipped(run: str, what: str) -> str:
        with toast("Not exported"):
            return str(studio.export(run, what))

    download(html, report("html"), [run_id])
    download(certificate, certified, [run_id, request, responsible, show])
    download(moving, picture, [run_id, owner])
    download(plain, report("json"), [run_id])
    download(site, report("site"), [run_id])
    download(save, zipped, [run_id, kind])
    return HandoverPanel(box, export, *_repeat())


def _repeat() -> tuple[gr.Column, gr.HTML]:
    with gr.Column(visible=False) as box:
        heading(
            "Repeat and share",
            "The same seed draws the same rows; rounding may differ by processor and threads.",
        )
        with panel():
            line = gr.HTML(elem_id="le-command")
            with gr.Row(elem_classes=["le-buttons"]):
                gr.Button("Copy the command", size="sm").click(None, js=_COPY_COMMAND, **AT_ONCE)
                gr.Button("Copy a link to this run", size="sm").click(None, js=COPY_LINK, **AT_ONCE)
    return box, line


def _hub_form(studio: Studio, run_id: gr.Textbox, kind: gr.Radio, owner: gr.BrowserState) -> None:
    with gr.Accordion("Upload to the Hub", open=False):
        repo = gr.Textbox(label="Repository", placeholder="owner/name", info=_TOKEN, max_length=200)
        with gr.Row(elem_classes=["le-buttons"]):
            push = gr.Button("Upload", size="sm", elem_id="le-push")
        told = gr.HTML(elem_id="le-pushed")

    def upload(run: str, place: str, what: str, token: str) -> Safe:
        with toast("Not uploaded"):
            address = studio.push(run, place, what, token)
        return tag("p", "Uploaded: ", tag("a", address, href=address), role="status")

    push.click(
        upload,
        [run_id, repo, kind, owner],
        told,
        api_visibility="private",
        concurrency_id="export",
        trigger_mode="once",
    )
