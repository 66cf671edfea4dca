"""The runs of this home, newest first; each opens by its link."""

from __future__ import annotations

import time

import gradio as gr

from unlearn_core.report.format import duration, score, shorten
from unlearn_core.report.markup import Safe, tag
from unlearn_core.runs.store import RunRecord
from unlearn_core.ui.common import AT_ONCE, heading
from unlearn_core.ui.run_tab import RunTab
from unlearn_core.ui.studio import Studio

MAX_ROWS = 100
_HEAD = ("Run", "Status", "Verdict")
_NUMBERS = ("Final", "Task aggregate", "Membership", "Utility", "Time")


def build_runs_tab(studio: Studio, run: RunTab, tab: gr.Tab) -> None:
    """A table that is read anew whenever the tab is opened."""
    heading("Runs", "On a shared server you see your own.")
    rows = gr.HTML(elem_id="le-runs")
    refresh = gr.Button("Refresh", size="sm", scale=0)

    def read(token: str) -> Safe:
        owner = token if studio.public else None
        return runs_table(studio.store.list_runs(owner=owner, limit=MAX_ROWS), time.time())

    for event in (tab.select, refresh.click):
        event(read, run.session.owner, rows, **AT_ONCE)


def runs_table(records: list[RunRecord], now: float) -> Safe:
    """One row per run with its scores."""
    if not records:
        return tag("p", "No runs yet. Press Make it forget on the first tab.", class_="le-muted")
    head = tag(
        "tr",
        *(tag("th", words, scope="col") for words in _HEAD),
        *(tag("th", words, scope="col", class_="le-number") for words in _NUMBERS),
    )
    body = [_row(record, now) for record in records]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="le-table")
    return tag("div", table, class_="le-card le-scroll", tabindex="0")


def _row(record: RunRecord, now: float) -> Safe:
    scores = record.scores.get("unlearned", {})
    final = scores.get("final_score")
    numbers = [
        None if final == -1 else final,
        *(scores.get(k) for k in ("task_aggregate", "mia_score", "utility")),
    ]
    what = " / ".join(shorten(str(record.spec.get(key)), 30) for key in ("target", "data"))
    link = tag("a", record.name, href=f"?run={record.id}")
    seconds = sum(record.seconds.values()) if record.seconds else None
    return tag(
        "tr",
        tag("td", link, tag("div", f"{what}, {_ago(now - record.created)}", class_="le-muted")),
        tag("td", tag("span", record.status, class_="le-tag")),
        tag("td", (record.verdict or {}).get("label", "")),
        *(tag("td", score(value), class_="le-number") for value in numbers),
        tag("td", duration(seconds), class_="le-number"),
    )


def _ago(seconds: float) -> str:
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} days ago"
