"""What a stranger is told at the foot of the page: who sees what, for how long, how much; and a way out."""

from __future__ import annotations

import gradio as gr

from unlearn_core import limits
from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.service.studio import Studio
from unlearn_core.ui.common import AT_ONCE, PRIVATE, confirm_first, inform, toast
from unlearn_core.ui.page import RunTab
from unlearn_core.ui.web.sign_in import offers_hub

_LEAVE = "() => { window.location.assign(window.location.pathname); }"


def privacy_panel(studio: Studio, run: RunTab) -> None:
    """Lay it out and wire the button."""
    with gr.Accordion("Your data on this server, and its limits", open=False, elem_id="le-privacy"):
        gr.HTML(_told())
        with gr.Row(elem_classes=["le-buttons"]):
            delete = gr.Button("Delete my data", size="sm", elem_id="le-delete-mine")
            sure = gr.Button(
                "Yes, delete all my runs and uploads",
                size="sm",
                variant="stop",
                visible=False,
                elem_id="le-delete-mine-sure",
            )
            keep = gr.Button("Keep them", size="sm", visible=False)

    def forget(owner: str) -> tuple[object, ...]:
        with toast("Not deleted"):
            gone = studio.delete_mine(owner)
        told = f"{count(gone.runs, 'run')} and {count(gone.uploads, 'upload')} are gone, or as soon as they stop."
        inform("Deleted", told)
        return "", gr.update(visible=False), gr.update(visible=False)

    confirm_first(delete, sure, keep)
    gone = sure.click(forget, run.session.owner, [run.session.owner, sure, keep], **PRIVATE)
    gone.success(None, js=_LEAVE, **AT_ONCE)


def _told() -> Safe:
    mib, most = limits.MIB, limits.ALLOWANCES
    lines: tuple[str, ...] = (
        "Only this browser lists, changes and deletes what you start and upload: it holds a secret that the "
        "server knows by its hash. Whoever gets a run's link may read and download that run.",
        f"Runs and uploads are deleted after {limits.KEPT_DAYS} days, or sooner where the disk fills up; "
        "files made for a download go within an hour. Your network address is never stored: a hash of it, "
        "in memory only, counts what you take.",
        f"At a time {count(limits.RUNS_AT_A_TIME, 'run')} of yours; in an hour {most['run'].amount} runs, "
        f"{most['audit'].amount} attacks and {most['upload'].amount // mib} MiB of uploads; in a minute "
        f"{most['question'].amount} questions. A run takes at most {limits.STEPS} steps and "
        f"{limits.RUN_SECONDS // 60} minutes until its training ends, on a file of at most "
        f"{limits.FILE_BYTES // mib} MiB and {limits.FILE_ROWS:,} rows.",
        "Do not upload what must stay secret: use your own installation for that.",
    )
    if offers_hub():
        lines += (
            "Signed in with your account at the Hub, these limits are yours wherever you are, and nobody "
            "shares them with you. The account serves for nothing else: it is neither stored nor shown.",
        )
    return join(*(tag("p", line, class_="le-muted") for line in lines))
