"""One run as one HTML file: it opens offline, asks no other file or host for anything, and prints well."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from unlearn_core.report.export.bundle import SAMPLES, RunReport
from unlearn_core.report.kit.format import split_title
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.svg import figure_svg
from unlearn_core.report.kit.table import pairs
from unlearn_core.report.run.answers.sidebyside import side_by_side, splits
from unlearn_core.report.run.breakdown import breakdown
from unlearn_core.report.run.cost import cost_table
from unlearn_core.report.run.leakage import leakage_card
from unlearn_core.report.run.live.curves import facts_figure, loss_figure, losses_table, probes_table
from unlearn_core.report.run.live.fade import replay_printed
from unlearn_core.report.run.live.neighbourhood import printed
from unlearn_core.report.run.live.progress import stage_title
from unlearn_core.report.run.live.watched import singles, watch_panel
from unlearn_core.report.run.verdict import summary
from unlearn_core.system.assets import assets_directory
from unlearn_core.system.units import MISSING, duration
from unlearn_core.system.version import __version__

if TYPE_CHECKING:
    from unlearn_core.evaluation.audit_result import AuditJson
    from unlearn_core.runs.spec import SpecJson

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
.le-certificate .le-pair td, .le-certificate .le-pair th { padding: 3px 8px; font-size: 13px; }
.le-certificate .le-table { margin: 10px 0; font-size: 13px; } .le-certificate .le-verdict { margin: 12px 0; }
.le-certificate .le-layers td, .le-certificate .le-layers th { padding: 4px 8px; }
.le-certificate .le-layers .le-muted { display: none; } .le-certificate h2 { margin: 14px 0 4px; }
.le-certificate ul { font-size: 14px; padding-left: 18px; }
@media print {
  body { background: #ffffff; max-width: none; padding: 0; font-size: 11pt; }
  .le-card, .le-item, .le-tile, svg, tr { break-inside: avoid; }
  h2, h3 { break-after: avoid; } details { display: none; } .le-svg { min-width: 0; }
  .le-scroll { overflow: visible; background: none; } .le-table { font-size: 9pt; }
  .le-table th, .le-table td { padding: 4px; white-space: normal; }
  .le-leakage thead th { white-space: normal !important; } .le-leakage .le-chart { min-width: 60px; }
  .le-leakage th[scope="row"] { min-width: 150px; }
  main.le-certificate { font-size: 8.5pt; line-height: 1.35; } .le-certificate h1 { font-size: 16pt; }
  .le-certificate h2 { font-size: 11pt; margin: 6px 0 2px; }
  .le-certificate :is(p, ul, table) { margin: 3px 0 !important; }
  .le-certificate .le-verdict { padding: 6px 12px; margin: 6px 0; } .le-certificate .le-verdict h2 { font-size: 14pt; }
  .le-certificate :is(td, th) { padding: 1px 4px !important; font-size: 8pt !important; }
  .le-certificate :is(.le-muted, code, ul, .le-verdict p) { font-size: 8pt; }
  .le-certificate .le-code { padding: 4px 8px; }
  .le-certificate .le-tag { font-size: 7.5pt; line-height: 1.3; padding: 0 6px; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def report_html(found: RunReport) -> str:
    """The whole report; every text of the run, its data and its models is escaped."""
    title = f"{found.record.name}: Lethe report"
    return offline_page(title, tag("main", header(found), _verdict(found), sections(_parts(found)), footer()))


def offline_page(title: str, body: Safe) -> str:
    """A whole document that opens offline, in the look of the app, in light and dark and on paper."""
    head = join(
        tag("meta", charset="utf-8"),
        Safe('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Safe(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("title", title),
        tag("style", Safe(_style())),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", head)}{tag("body", body)}</html>\n'


def header(found: RunReport, title: str = "") -> Safe:
    """Which run it is, in words; under its name unless it has another title."""
    record = found.record
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(record.created))
    told = f"{when}. Target {found.spec.get('target')}, data {found.spec.get('data')}, run {record.id}."
    tags = [tag("span", name, class_="le-tag") for name in record.tags]
    return tag("header", tag("h1", title or record.name), tag("p", told, class_="le-muted"), *tags)


def sections(parts: Mapping[str, Sequence[Safe]]) -> Safe:
    """Parts under their headings; those with nothing in them are left out."""
    return join(*(join(tag("h2", title), *body) for title, body in parts.items() if any(body)))


def _verdict(found: RunReport) -> Safe:
    return summary(found.story) or tag("p", f"This run is {found.record.status}; it has no verdict.")


def _parts(found: RunReport) -> dict[str, list[Safe]]:
    story = found.story
    notes = [tag("li", words) for words in dict.fromkeys(story.notes)]
    versions = found.versions or {"versions": "not recorded by this run"}
    return {
        "Notes": [tag("ul", *notes)] if notes else [],
        "The twelve terms": [breakdown(story.scores) or _nothing("They were not scored.")],
        "Curves": curves(found),
        "How the answers faded": [replay_printed(story)],
        "Neighbourhood": [printed(story)],
        "Audits": [attacks(found.audits)],
        "Sample generations": samples(found),
        "What was run": [_pairs(_flat_spec(found.spec)), command_line(found)],
        "Hashes and versions": [_pairs({**found.hashes, **versions})],
        "Cost": [cost_table(story), _pairs(_cost(found))],
    }


def curves(found: RunReport) -> list[Safe]:
    """Losses and watched answers by step, with the numbers behind them."""
    losses = _wide(figure_svg(loss_figure(found.story)))
    facts = _wide(figure_svg(facts_figure(found.story)))
    return [
        tag("div", tag("h3", "Loss, nats per token"), losses, losses_table(found.story), class_="le-card"),
        tag(
            "div",
            tag("h3", "Probability of the watched answers"),
            facts,
            watch_panel(found.story),
            details("Each canary answer", singles(found.story)),
            probes_table(found.story),
            class_="le-card le-item",
        ),
    ]


def _wide(drawing: Safe) -> Safe:
    """A drawing that a phone scrolls through instead of showing letters that nobody can read."""
    return tag("div", drawing, class_="le-scroll", tabindex="0", role="group", aria_label="Chart")


def attacks(audits: tuple[AuditJson, ...]) -> Safe:
    """What attacks found, and players."""
    from unlearn_core.evaluation.audits import describe

    titles = {audit["name"]: audit["title"] for audit in describe()}
    return leakage_card(audits, titles) or _nothing(
        "No audit was made of these weights. The verdict says nothing of attacks."
    )


def samples(found: RunReport) -> list[Safe]:
    """A few answers of every kind, before and after."""
    kinds = splits(found.story.scores)
    if not kinds:
        return [_nothing("No answers were recorded.")]
    parts = []
    for kind in kinds:
        parts += [tag("h3", split_title(kind)), side_by_side(found.story.scores, kind, limit=SAMPLES)]
    return parts


def _pairs(rows: Mapping[str, object]) -> Safe:
    return tag("div", pairs(rows), class_="le-card")


def _flat_spec(spec: SpecJson) -> dict[str, object]:
    rest = {name: value for name, value in spec.items() if name != "settings" and value not in (None, "", {})}
    return {**rest, **spec.get("settings", {})}


def command_line(found: RunReport) -> Safe:
    """What repeats the run from a terminal."""
    line = found.to_json()["command"]
    return tag("pre", tag("code", line), class_="le-code")


def _cost(found: RunReport) -> dict[str, object]:
    cost = found.cost
    rate = cost["median_tokens_per_second"]
    stages = {stage_title(stage): duration(seconds) for stage, seconds in cost["seconds"].items()}
    total = duration(sum(cost["seconds"].values())) if cost["seconds"] else MISSING
    return {
        **stages,
        "All stages": total,
        "Optimiser steps": f"{cost['steps']:,}",
        "Training speed, median": f"{rate:,.0f} tokens/s" if rate is not None else MISSING,
        "Device": cost["device"] or MISSING,
    }


def _nothing(words: str) -> Safe:
    return tag("p", words, class_="le-muted")


def footer() -> Safe:
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


def report_json(found: RunReport) -> str:
    return json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
