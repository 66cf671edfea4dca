"""A finished run handed over: its report, its weights or adapter, or a model on the Hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from unlearn_core.report.export import KINDS
from unlearn_core.report.markup import Safe, tag
from unlearn_core.report.story import Story
from unlearn_core.ui.common import PRIVATE, download, heading, panel, toast
from unlearn_core.ui.studio import Studio

_TITLES = {"weights": "Weights", "adapter": "LoRA adapter"}
_TOKEN = "The token is read from HF_TOKEN on this machine. The repository is private."


@dataclass(frozen=True)
class HandoverPanel:
    """The components; exporting needs weights, the report does not."""

    box: gr.Column
    export: gr.Column

    @property
    def drawn(self) -> list[Any]:
        return [self.box, self.export]

    def changes(self, story: Story) -> list[Any]:
        """Values for `drawn`."""
        kept = bool(getattr(story.end, "artifact", ""))
        return [gr.update(visible=story.end is not None), gr.update(visible=kept)]


def handover_panel(studio: Studio, run_id: gr.Textbox, owner: gr.BrowserState) -> HandoverPanel:
    """Lay it out and wire it. Uploading is for one's own machine, whose token it uses."""
    with gr.Column(visible=False) as box:
        heading("Report and export", "One offline page about the run; the model with its card.")
        with panel():
            with gr.Row(elem_classes=["le-buttons"]):
                html = gr.Button("Download the report", size="sm", elem_id="le-report")
                plain = gr.Button("Report as JSON", size="sm", elem_id="le-report-json")
            with gr.Column(visible=False) as export:
                kind = gr.Radio([(_TITLES[name], name) for name in KINDS], value="weights", label="Exported")
                with gr.Row(elem_classes=["le-buttons"]):
                    save = gr.Button("Export as zip", size="sm", elem_id="le-export")
                if not studio.public:
                    _hub_form(studio, run_id, kind, owner)

    def report(form: str) -> Any:
        def make(run: str) -> str:
            with toast("No report"):
                return str(studio.report(run, form))

        return make

    def zipped(run: str, what: str) -> str:
        with toast("Not exported"):
            return str(studio.export(run, what))

    download(html, report("html"), [run_id])
    download(plain, report("json"), [run_id])
    download(save, zipped, [run_id, kind])
    return HandoverPanel(box, export)


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

    settings: dict[str, Any] = PRIVATE | {"show_progress": "full", "concurrency_id": "export"}
    push.click(upload, [run_id, repo, kind, owner], told, trigger_mode="once", **settings)
