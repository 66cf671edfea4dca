"""153 published runs as a lesson: sorted by the official score, with the wrecks marked.

What it shows is real: the scores one team published for its runs on the benchmark's 1B model, and the
verdict that Lethe's rules give each of them from its means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.protocols.official import ONE_LETTER
from unlearn_core.evaluation.protocols.references.published import LEADERBOARD, PublishedEntry, PublishedRun
from unlearn_core.report.kit import palette
from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.figure import Properties, figure, level, plain, scatter
from unlearn_core.report.kit.format import score
from unlearn_core.report.kit.markup import Safe, breakable, join, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.report.run.verdict import verdict_tag

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

ORDERS = ("Official score", "Official score, wrecks left out", "What is left of the retain set")
_HEAD = ("Place", "Run", "Verdict")
_NUMBERS = ("Official score", "Task aggregate", "AUC", "MMLU", "Retain recited", "Retain answered")
_SOURCE = "github.com/yizhiai1994/CCM_at_semeval2025task4"
_TITLES = {"Doing nothing": "doing nothing"}


def lesson(runs: Sequence[PublishedRun]) -> Safe:
    """What the table teaches, in counted sentences."""
    leading = next((place for place, run in enumerate(runs) if not run.collapsed), len(runs))
    zeros = sum(run.task_aggregate == 0 for run in runs)
    foreign = sum(run.foreign_mmlu for run in runs)
    low, high = min(run.mmlu for run in runs), max(run.mmlu for run in runs)
    first = runs[0]
    facts = (
        f"The {leading} best by the official score are all wrecks. The first, with {score(first.final, 3)}, "
        f"answers {score(first.retain[1])} of the questions it should keep and recites "
        f"{score(first.retain[0])} of the texts.",
        f"By verdict: {_labels(runs)}.",
        f"In {zeros} of {len(runs)} the task aggregate is exactly 0, because one of its twelve terms is.",
        f"MMLU lies between {score(low, 3)} and {score(high, 3)}: always answering one letter scores "
        f"{ONE_LETTER[0]} to {ONE_LETTER[1]}, so on this model it carries no signal.",
        f"In {foreign} of {len(runs)} the MMLU that was counted is not the one in the run's own MMLU file.",
    )
    return tag("div", tag("ul", *(tag("li", fact) for fact in facts)), class_="le-card le-lesson")


def published_figure(runs: Sequence[PublishedRun]) -> Figure:
    """Official score against what is left of the retain set; one marker per verdict."""
    traces = []
    for label, (color, symbol) in palette.VERDICTS.items():
        mine = [run for run in runs if run.verdict.word == label]
        if mine:
            trace = scatter(f"{label} ({len(mine)})", [(run.retained, run.final) for run in mine])
            trace["text"] = [plain(run.name) for run in mine]
            trace["hovertemplate"] = "%{text}<br>official score %{y:.3f}<br>retain set left %{x:.0%}"
            traces.append(trace | {"marker": {"color": color, "symbol": symbol, "size": 9, "opacity": 0.85}})
    across = {
        "title": {"text": "retain set left", "standoff": 6},
        "range": [-0.03, 1.05],
        "tickformat": ".0%",
    }
    up = {"title": {"text": "official score", "standoff": 6}, "range": [0, 0.76]}
    told = "Published runs by score and retain set left"
    lines = [level(entry.final) for entry in _one_b()]
    names = [_reference_name(entry, place) for place, entry in enumerate(_one_b())]
    levels = {"shapes": lines, "annotations": names}
    return figure(traces, "published", told, height=380, xaxis=across, yaxis=up, **levels)


def published_table(runs: Sequence[PublishedRun], order: str = ORDERS[0]) -> Safe:
    """Every run with its place by the official score; wrecks are marked."""
    placed = list(enumerate(runs, start=1))
    if order == ORDERS[1]:
        placed = [(place, run) for place, run in placed if not run.collapsed]
    elif order == ORDERS[2]:
        placed.sort(key=lambda pair: -pair[1].retained)
    columns = [*_HEAD[:2], _NUMBERS[0], _HEAD[2], *_NUMBERS[1:]]
    made = table(columns, (_row(*pair) for pair in placed), numbers={2, *range(4, len(columns))})
    link = csv_link("published-runs.csv", [*_HEAD, *_NUMBERS], (_values(*pair) for pair in placed))
    return tag("div", scrolled(made, "Runs", tall=True), tag("p", link), class_="le-card")


def _values(place: int, run: PublishedRun) -> list[str | float | int | None]:
    return [place, run.name, run.verdict.word, run.final, run.task_aggregate, run.mia_auc, run.mmlu, *run.retain]


def _row(place: int, run: PublishedRun) -> Safe:
    numbers = (
        score(run.final, 3),
        score(run.task_aggregate, 3),
        score(run.mia_auc),
        score(run.mmlu, 3),
        score(run.retain[0]),
        score(run.retain[1]),
    )
    return tag(
        "tr",
        tag("td", place),
        tag("td", breakable(run.name), class_="le-name"),
        tag("td", numbers[0], class_="le-number"),
        tag("td", verdict_tag(run.verdict.word)),
        *(tag("td", number, class_="le-number") for number in numbers[1:]),
        class_="le-wreck" if run.collapsed else None,
    )


def source() -> Safe:
    """Whose runs these are."""
    link = tag(
        "a",
        breakable(_SOURCE),
        rel="noopener noreferrer",
        target="_blank",
        href=f"https://{_SOURCE}",
    )
    told = "Runs of team iShumei-Chinchunmei on the 1B model of SemEval-2025 Task 4 (Apache-2.0): "
    rest = (
        ". The verdicts are Lethe's, from each run's means, taking the original to have known everything. "
        "Dashed: the leaderboard's 1B entries, and doing nothing."
    )
    return tag("p", join(told, link, rest), class_="le-muted le-source")


def _labels(runs: Sequence[PublishedRun]) -> str:
    found = Counter(run.verdict.word for run in runs)
    counted = ", ".join(f"{number} {label}" for label, number in found.most_common())
    return counted if found["forgotten"] else f"{counted}; not one forgot what it should and kept the rest"


def _one_b() -> list[PublishedEntry]:
    return [entry for entry in LEADERBOARD if entry.model == "1B"]


def _reference_name(entry: PublishedEntry, place: int) -> Properties:
    """Above its line at the left, below it at the right, in turn: the lines lie close on a phone."""
    left = place % 2 == 0
    return {
        "xref": "paper",
        "x": 0 if left else 1,
        "xanchor": "left" if left else "right",
        "y": entry.final,
        "yanchor": "bottom" if left else "top",
        "showarrow": False,
        "font": {"size": 11},
        "text": f"{_TITLES.get(entry.name, entry.name)} {entry.final:.3g}",
    }
