"""What the tabs of one page share: who looks at it, which run, and the form of the first tab."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr
from gradio.events import Dependency

from unlearn_core.ui.panels.result_panel import OutcomePanel
from unlearn_core.ui.panels.setup_panel import Setup

POLL_SECONDS = 2.0  # a poll takes server and browser a fifth of a second
POLL_AT_END = 0.8  # once only the verdict is to come


@dataclass(frozen=True)
class PageSession:
    """What a visitor's page remembers: the run on screen, what was drawn of it, and who they are."""

    run_id: gr.Textbox  # hidden, and kept by the browser, so that it outlives a restart of the server
    seen: gr.State
    owner: gr.BrowserState  # a secret that lets this browser stop its own runs
    timer: gr.Timer
    due: gr.Textbox  # hidden; its change has the whole tab drawn, not only what moves


@dataclass(frozen=True)
class RunTab:
    """What other tabs need of this one."""

    setup: Setup
    session: PageSession
    outcome: OutcomePanel
    map: gr.HTML  # of its subjects; `select` tells which was pressed
    opened: Dependency  # the page's first event: after it a linked run is on screen
