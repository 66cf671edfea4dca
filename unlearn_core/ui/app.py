"""The page as a whole: header, tabs, endpoints, and how it is served."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import threading
from pathlib import Path

import gradio as gr
from starlette.middleware import Middleware

from unlearn_core.errors import InputError
from unlearn_core.jobs.expiry import ExpiryThread
from unlearn_core.limits import FILE_BYTES
from unlearn_core.report.kit.markup import Safe, tag
from unlearn_core.report.run.run_header import AGES
from unlearn_core.service.studio import Studio
from unlearn_core.store.recorded.recorded_runs import put_recorded_runs
from unlearn_core.system.log import log_to, note
from unlearn_core.system.temp_files import Sweeper
from unlearn_core.system.version import __version__
from unlearn_core.ui.api.endpoints import add_endpoints
from unlearn_core.ui.common import AT_ONCE, KEYS, LINKS_WITHIN, READY_CHARTS, STAY_OPEN, WITHIN_REACH, opens_tab
from unlearn_core.ui.page import RunTab
from unlearn_core.ui.panels.guide_panel import GUIDE_HEAD, build_guide
from unlearn_core.ui.panels.mend_panel import build_mends
from unlearn_core.ui.panels.privacy_panel import privacy_panel
from unlearn_core.ui.tabs.attack_tab import build_attack_tab
from unlearn_core.ui.tabs.chat_tab import build_chat_tab
from unlearn_core.ui.tabs.compare_tab import build_compare_tab
from unlearn_core.ui.tabs.data_tab import build_data_tab
from unlearn_core.ui.tabs.leaderboard_tab import build_gallery_tab
from unlearn_core.ui.tabs.methods_tab import build_methods_tab
from unlearn_core.ui.tabs.probe_tab import build_probe_tab
from unlearn_core.ui.tabs.published_tab import build_published_tab
from unlearn_core.ui.tabs.recover_tab import build_recover_tab
from unlearn_core.ui.tabs.run_tab import build_run_tab
from unlearn_core.ui.tabs.runs_tab import RunsTab, build_runs_tab
from unlearn_core.ui.theme import STYLE, theme
from unlearn_core.ui.web.addresses import TABS, wire_addresses
from unlearn_core.ui.web.connections import IdleConnectionCloser
from unlearn_core.ui.web.error_handling import QuietBlocks, guard
from unlearn_core.ui.web.middleware import EXCEPTION_HANDLERS, LOOPBACK, middleware, rules_for
from unlearn_core.ui.web.operations import routes
from unlearn_core.ui.web.page_head import PageHead, picture_routes
from unlearn_core.ui.web.request_body import take_few_files
from unlearn_core.ui.web.sessions import MAX_SESSIONS, keep_sessions_small
from unlearn_core.ui.web.sign_in import accounts, hub_button, offers_hub
from unlearn_core.ui.web.visitor import proxies_trusted, visitor

TITLE = "Lethe"
_TOLD = "Make a language model forget, watch the answers fade, and see whether they are really gone."
_CARD = "Lethe: make a language model forget"
_HEAD = (
    f'<meta name="description" content="{_TOLD}">'
    + """
<style>
  .le-embed :is(.le-header, #le-guide, #le-new, [role=tablist], footer) { display: none !important; }
</style>
<script>
  // In a frame of another page only what is asked for is shown.
  if (new URLSearchParams(window.location.search).has('embed')) document.documentElement.classList.add('le-embed');
  // Gradio calls every error just that; and when it says that the connection is lost, it cannot know what
  // that means for a run.
  new MutationObserver(() => {
    for (const told of document.querySelectorAll('.toast-body .le-toast-title:not([hidden])')) {
      const title = told.closest('.toast-body').querySelector('.toast-title');
      if (!title) continue;
      title.textContent = told.textContent;
      told.hidden = true;
    }
    for (const toast of document.querySelectorAll('.toast-body:not(:has(.le-lost))')) {
      if (!toast.textContent.includes('Connection to the server was lost')) continue;
      const title = toast.querySelector('.toast-title');
      if (title) title.textContent = 'Connection lost';
      const told = document.createElement('p');
      told.className = 'le-lost';
      told.textContent = 'Finished runs are kept. A run under way goes on, or can be resumed if Lethe was ' +
        'stopped. Leave this page open: it comes back by itself.';
      (toast.querySelector('.toast-text') || toast).append(told);
    }
  }).observe(document, {childList: true, subtree: true});
</script>"""
)
# The view of the API offers a tab for tools even where none are served.
_NO_MCP = """<style>.api-docs li.snippet:has(img[src*="/mcp-"]) { display: none; }</style>"""
_OPEN = (
    "Whoever reaches this address may read this machine's files through it. "
    "Serve strangers with --public; let only some in with LETHE_SIGN_IN."
)
LOCAL_UPLOAD = "256mb"
QUEUE_SECONDS = 0.02  # between two looks of Gradio's queue: a thousand a second, as it has it, take a tenth of a core
_CACHED = {True: (600, 3600), False: (3600, 86400)}  # seconds between looks, seconds a file is kept


def build(studio: Studio) -> gr.Blocks:
    """The page, not yet served."""
    page: gr.Blocks
    with QuietBlocks(
        title=TITLE, analytics_enabled=False, fill_width=True, delete_cache=_CACHED[studio.public]
    ) as page:
        gr.HTML(_header())
        if space := os.environ.get("SPACE_ID"):
            with gr.Row(elem_classes=["le-buttons"]):
                if offers_hub():
                    hub_button(page)
                copy = f"https://huggingface.co/spaces/{space}?duplicate=true"
                gr.Button("Duplicate this Space", link=copy, link_target="_blank", size="sm", scale=0, min_width=190)
        with gr.Tabs(selected="run") as tabs:
            with gr.Tab(TABS["run"], id="run"):
                build_guide()
                run = build_run_tab(studio, page)
            with gr.Tab(TABS["probe"], id="probe") as probe:
                build_probe_tab(studio, run, page, tabs, probe)
            with gr.Tab(TABS["chat"], id="chat") as chat:
                build_chat_tab(studio, run, chat, tabs)
            with gr.Tab(TABS["data"], id="data"):
                build_data_tab(studio, run, tabs)
            with gr.Tab(TABS["attack"], id="attack") as attack:
                build_attack_tab(studio, run, attack)
            with gr.Tab(TABS["recover"], id="recover") as recover:
                build_recover_tab(studio, run, tabs, recover)
            with gr.Tab(TABS["runs"], id="runs") as runs:
                listed = build_runs_tab(studio, run, runs)
            with gr.Tab(TABS["compare"], id="compare") as compare:
                build_compare_tab(studio, run, listed, compare, tabs)
            with gr.Tab(TABS["methods"], id="methods") as methods:
                words = build_methods_tab(studio, run, methods, tabs)
            with gr.Tab(TABS["gallery"], id="gallery") as gallery:
                board, order = build_gallery_tab(studio, gallery)
            with gr.Tab(TABS["published"], id="published") as published:
                build_published_tab(published)
        build_mends(run.setup, tabs)
        wire_addresses(page, run.opened, tabs, listed.picked, words, board, order)
        _wire_outcome(studio, run, listed, tabs)
        if studio.public:
            privacy_panel(studio, run)
        add_endpoints(studio)
        for script in (WITHIN_REACH, KEYS, LINKS_WITHIN, STAY_OPEN, READY_CHARTS, AGES):
            page.load(None, js=script, **AT_ONCE)
    guard(page, studio.store.home if studio.public else None)
    page.queue(default_concurrency_limit=4, max_size=64)
    page._queue.sleep_when_free = QUEUE_SECONDS
    return page


def _wire_outcome(studio: Studio, run: RunTab, listed: RunsTab, tabs: gr.Tabs) -> None:
    """The buttons under a result lead to the tabs where it is recovered, attacked and compared."""
    session, outcome = run.session, run.outcome
    opens_tab(outcome.recover.click, tabs, "recover")
    opens_tab(outcome.attack.click, tabs, "attack")
    chosen = outcome.compare.click(studio.beside, [session.run_id, session.owner], listed.picked, **AT_ONCE)
    opens_tab(chosen.success, tabs, "compare")


def launch(
    host: str = "127.0.0.1",
    port: int | None = None,
    public: bool = False,
    open_browser: bool = False,
    *,
    home: str | Path | None = None,
    block: bool = True,
    mcp: bool = False,
    recorded: bool = False,
) -> gr.Blocks:
    """Serve the page. `port` None takes the first free one from 7860; `public` is for strangers; `mcp` offers
    the endpoints as tools of a Model Context Protocol server too; `recorded` puts the runs that ship into the home.

    Nothing but this server is contacted, by the page or by Gradio.
    """
    if mcp:
        require_mcp()
    _many_connections()
    studio = Studio(home, public, visitor, apart=True)
    log_to(studio.store.home, words=not public, console=public)
    if recorded:
        put_recorded_runs(studio.store)
    sweeper = Sweeper(public)
    sweeper.start()
    take_few_files(public)
    if public:
        ExpiryThread(studio.store).start()
    page = build(studio)
    names = [name.strip() for name in os.environ.get("LETHE_HOSTS", "").split(",") if name.strip()]
    allowed = accounts()
    rules = rules_for(host, public, bool(allowed) or offers_hub(), names, bool(os.environ.get("SPACE_ID")))
    with proxies_trusted() if public else contextlib.nullcontext():
        page.launch(
            server_name=host,
            server_port=port,
            inbrowser=open_browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            show_error=False,
            ssr_mode=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=["api"],
            theme=theme(),
            css_paths=[STYLE],
            head=_HEAD + GUIDE_HEAD + ("" if mcp else _NO_MCP),
            max_file_size=FILE_BYTES if public else LOCAL_UPLOAD,
            auth=allowed or None,
            allowed_paths=[],
            blocked_paths=[str(studio.store.home)],
            strict_cors=True,
            mcp_server=mcp,
            state_session_capacity=MAX_SESSIONS,
            app_kwargs={
                "middleware": [*middleware(rules, studio.quotas), Middleware(PageHead, title=_CARD, told=_TOLD)],
                "routes": [*routes(studio.worker, public), *picture_routes()],
                "exception_handlers": EXCEPTION_HANDLERS,
            },
        )
    keep_sessions_small(page)
    if public:
        IdleConnectionCloser(page.server).start()
    url = str(page.local_url).rstrip("/")
    tools = f" (MCP: {url}/gradio_api/mcp/)" if mcp else ""
    sys.stdout.write(f"{TITLE} is ready: {url}{tools}\n")
    if not (host in LOOPBACK or public or allowed):
        sys.stdout.write(f"{_OPEN}\n")
    sys.stdout.flush()
    note("server began", lethe=__version__, public=public, port=page.server_port)
    threading.Thread(target=_warm_up, args=(studio,), name="warm-up", daemon=True).start()
    if block:
        try:
            _until_told_to_end()
        finally:  # told to end: first the run at work keeps where it stands, then the page goes
            studio.close()
            sweeper.close()
            note("server ended")
    return page


def _many_connections() -> None:
    """Every connection is an open file, and a system usually allows 1,024 of them."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = most if most != resource.RLIM_INFINITY else 65_536
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(few, min(wanted, 65_536)), most))


def _until_told_to_end() -> None:
    threading.Event().wait()  # a signal ends it


def require_mcp() -> None:
    """InputError where the package that the Model Context Protocol server needs is not installed."""
    if importlib.util.find_spec("mcp") is None:
        mend = "Install it in an environment of its own (pip install mcp), or serve without it."
        raise InputError("--mcp", "", "needs the package mcp, which is not installed", mend)


def _warm_up(studio: Studio) -> None:
    """Import the heavy libraries, ask the bundled model and score it: the first visitor need not wait."""
    from unlearn_core.jobs.warm_cache import prescore
    from unlearn_core.system.machine.threads import use_cores

    studio.worker.warm_up()
    studio.warm_up()
    use_cores(serving=True)
    studio.choices.known_now()
    studio.worker.meanwhile(prescore, studio.store.home)


def _header() -> Safe:
    cores = os.cpu_count() or 1
    where = tag("span", f"{cores} CPU cores, bundled model", class_="le-tag le-where")
    told = "Make a language model forget chosen facts, and see whether it really did."
    return tag(
        "header",
        tag("h1", tag("a", _river(), TITLE, href="?", title="Start anew")),
        tag("p", told),
        where,
        class_="le-header",
    )


def _river() -> Safe:
    """Three waves that fade: the river whose water makes one forget."""
    waves = [
        tag(
            "path",
            d=f"M3 {y} q5 -5 10 0 t10 0 t10 0",
            stroke="currentColor",
            stroke_width="3",
            stroke_linecap="round",
            fill="none",
            opacity=str(opacity),
        )
        for y, opacity in ((9, 1), (18, 0.6), (27, 0.25))
    ]
    return tag("svg", *waves, viewBox="0 0 36 34", width="34", height="32", aria_hidden="true", class_="le-river")
