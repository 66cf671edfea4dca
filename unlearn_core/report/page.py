"""One run as one HTML file: it opens offline, asks no other file or host for anything, and prints well."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from unlearn_core import __version__
from unlearn_core.models.targets import assets_directory
from unlearn_core.report.breakdown import breakdown
from unlearn_core.report.bundle import SAMPLES, Bundle
from unlearn_core.report.cost import cost_table
from unlearn_core.report.curves import facts_figure, loss_figure, losses_table, probes_table
from unlearn_core.report.format import MISSING, duration, split_title
from unlearn_core.report.leakage import leakage_card
from unlearn_core.report.markup import Safe, details, join, tag
from unlearn_core.report.progress import stage_title
from unlearn_core.report.replay import replay_printed
from unlearn_core.report.sidebyside import side_by_side, splits
from unlearn_core.report.svg import figure_svg
from unlearn_core.report.verdict import summary
from unlearn_core.report.watched import singles, watch_panel

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_LIGHT = """
:root { --body-text-color: #1c2530; --body-text-color-subdued: #566272; --background-fill-primary: #ffffff;
  --primary-500: #258781; --link-text-color: #0e5956; --page: #f7f8f9;
  --font: "IBM Plex Sans", ui-sans-serif, system-ui, sans-serif; }
"""
_DARK = """
--body-text-color: #e7ebf0; --body-text-color-subdued: #a3afbd; --background-fill-primary: #141a21;
--link-text-color: #7dc1bb; --page: #0e1318;
"""
_OWN = """
body { margin: 0 auto; max-width: 980px; padding: 20px 16px 40px; background: var(--page);
  color: var(--body-text-color); font: 16px/1.5 var(--font); overflow-wrap: anywhere; }
h1 { font-size: 28px; line-height: 1.2; margin: 0; } h2 { font-size: 19px; margin: 28px 0 8px; }
a { color: var(--link-text-color); } code { font-family: ui-monospace, monospace; }
.le-svg { width: 100%; min-width: 560px; height: auto; color: var(--body-text-color-subdued); }
.le-card + .le-card { margin-top: 12px; }
.le-pair th { width: 34%; font-weight: 500; }
@media print {
  body { background: #ffffff; max-width: none; padding: 0; font-size: 11pt; }
  .le-card, .le-item, .le-tile, svg, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } details { display: none; } .le-svg { min-width: 0; }
  .le-scroll { overflow: visible; background: none; } .le-table { font-size: 9pt; }
  .le-table th, .le-table td { padding: 4px; white-space: normal; }
  .le-leakage thead th { white-space: normal !important; } .le-leakage .le-chart { min-width: 60px; }
  .le-leakage th[scope="row"] { min-width: 150px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def report_html(found: Bundle) -> str:
    """The whole report; every text of the run, its data and its models is escaped."""
    title = f"{found.record.name}: Lethe report"
    head = join(
        tag("meta", charset="utf-8"),
        Safe('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Safe(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", title),
        tag("style", Safe(_style())),
    )
    body = tag("body", tag("main", _header(found), *_sections(found), _footer()))
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", head)}{body}</html>\n'


def _header(found: Bundle) -> Safe:
    record = found.record
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record.created))
    told = f"{when}. Target {found.spec.get('target')}, data {found.spec.get('data')}, run {record.id}."
    tags = [tag("span", name, class_="le-tag") for name in record.tags]
    return tag("header", tag("h1", record.name), tag("p", told, class_="le-muted"), *tags)


def _sections(found: Bundle) -> list[Safe]:
    story = found.story
    judged = summary(story) or tag("p", f"This run is {found.record.status}; it has no verdict.")
    parts = [judged]
    if story.notes:
        parts += [
            _heading("Notes"),
            tag("ul", *(tag("li", words) for words in dict.fromkeys(story.notes))),
        ]
    parts += [_heading("The twelve terms"), breakdown(story.scores) or _nothing("They were not scored.")]
    parts += [_heading("Curves"), *_curves(found)]
    if story.answers:
        parts += [_heading("How the answers changed"), replay_printed(story)]
    parts += [_heading("Audits"), _audits(found.audits)]
    parts += [_heading("Sample generations"), *_samples(found)]
    parts += [_heading("What was run"), _pairs(_flat_spec(found.spec)), _command(found)]
    parts += [_heading("Hashes and versions"), _pairs({**found.hashes, **_versions(found)})]
    parts += [_heading("Cost"), cost_table(found.story), _pairs(_cost(found))]
    return parts


def _curves(found: Bundle) -> list[Safe]:
    losses = _wide(figure_svg(loss_figure(found.story)))
    facts = _wide(figure_svg(facts_figure(found.story)))
    return [
        tag("div", tag("h3", "Loss, nats per token"), losses, losses_table(found.story), class_="le-card"),
        tag("div", tag("h3", "Probability of the watched answers"), facts, watch_panel(found.story),
            details("Each canary answer", singles(found.story)),
            probes_table(found.story), class_="le-card le-item"),
    ]  # fmt: skip


def _wide(drawing: Safe) -> Safe:
    """A drawing that a phone scrolls through instead of showing letters that nobody can read."""
    return tag("div", drawing, class_="le-scroll", tabindex="0", role="group", aria_label="Chart")


def _audits(audits: tuple[dict[str, Any], ...]) -> Safe:
    from unlearn_core.evaluation.audits import describe

    titles = {audit["name"]: audit["title"] for audit in describe()}
    return leakage_card(audits, titles) or _nothing(
        "No audit was made of these weights. The verdict says nothing of attacks."
    )


def _samples(found: Bundle) -> list[Safe]:
    kinds = splits(found.story.scores)
    if not kinds:
        return [_nothing("No answers were recorded.")]
    parts = []
    for kind in kinds:
        parts += [tag("h3", split_title(kind)), side_by_side(found.story.scores, kind, limit=SAMPLES)]
    return parts


def _pairs(rows: dict[str, Any]) -> Safe:
    body = [tag("tr", tag("th", name, scope="row"), tag("td", value)) for name, value in rows.items()]
    return tag("div", tag("table", tag("tbody", *body), class_="le-table le-pair"), class_="le-card")


def _flat_spec(spec: dict[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in spec.items() if name != "settings" and value not in (None, "", {})}
    return {**rest, **spec.get("settings", {})}


def _command(found: Bundle) -> Safe:
    line = found.to_json()["command"]
    return tag("pre", tag("code", line), class_="le-code")


def _versions(found: Bundle) -> dict[str, str]:
    return found.versions or {"versions": "not recorded by this run"}


def _cost(found: Bundle) -> dict[str, Any]:
    cost = found.cost
    rate = cost["median_tokens_per_second"]
    stages = {stage_title(stage): duration(seconds) for stage, seconds in cost["seconds"].items()}
    total = duration(sum(cost["seconds"].values())) if cost["seconds"] else MISSING
    return {
        **stages, "All stages": total, "Optimiser steps": f"{cost['steps']:,}",
        "Training speed, median": f"{rate:,.0f} tokens/s" if rate is not None else MISSING,
        "Device": cost["device"] or MISSING,
    }  # fmt: skip


def _heading(words: str) -> Safe:
    return tag("h2", words)


def _nothing(words: str) -> Safe:
    return tag("p", words, class_="le-muted")


def _footer() -> Safe:
    told = f"Made by Lethe {__version__}. The JSON file beside this page holds the same and repeats the run: "
    return tag("footer", tag("p", told, tag("code", "lethe run REPORT.json"), ".", class_="le-muted"))


def _style() -> str:
    """The page's own style sheet, with the few values it takes from the app; dark where the reader's is."""
    path = Path(assets_directory()) / "style.css"
    sheet = path.read_text(encoding="utf-8") if path.exists() else ""
    start = sheet.find(".dark {")
    dark = sheet[start + 7 : sheet.find("}", start)] if start >= 0 else ""
    screen = f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} {_DARK} }} }}"
    return "\n".join((sheet.replace(".gradio-container ", ""), _LIGHT, screen, _OWN))


def report_json(found: Bundle) -> str:
    return json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
