"""The bench's leaderboards: every method's mean and spread, and forgetting against keeping.

What is drawn was measured by `lethe bench` and ships with the weights' hashes and versions it was made with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from unlearn_core.evaluation.protocols.semeval import TOTALS
from unlearn_core.evaluation.verdict import GONE, earlier_word
from unlearn_core.report.kit import palette
from unlearn_core.report.kit.csvfile import csv_link
from unlearn_core.report.kit.figure import Properties, figure, plain, scatter
from unlearn_core.report.kit.format import capitalised, model_title, score, short_method
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.table import scrolled, table
from unlearn_core.report.run.verdict import verdict_tag
from unlearn_core.report.runs.audit_columns import CSV_HEADS, HEADS, NO_TITLES, audit_cells, audit_values, audits_told
from unlearn_core.runs.series.audited import audits_of, audits_of_reference, fewest_leaks
from unlearn_core.runs.series.bench import COLUMNS, RANKED_BY, commonest
from unlearn_core.system.grouped import grouped

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from unlearn_core.report.runs.methods import Method

Board = Mapping[str, Any]  # what a benchmark wrote of one target
Row = Mapping[str, Any]  # one method of a board
BEST_FIRST = "Indistinguishable first"  # then those whose answers are gone, then by final score
# Order offered to the reader -> figure it sorts by; True where more is better.
ORDERS: dict[str, tuple[str, bool]] = {
    BEST_FIRST: (RANKED_BY, True),
    **{capitalised(t.short): (t.name, True) for t in reversed(TOTALS) if t.higher_is_better},
    "Distance to the retain-only model": ("loss_distance", False),
}
# Of a letter of a name in a plot as wide as a phone, and of a mark from its middle, in units of the axes.
_LETTER, _MARK = (0.027, 0.05), 0.02
_HOVER = "keeping %{x:.3f}<br>forgetting %{y:.3f}"


def made_with(board: Board) -> Safe:
    """Which weights, data and versions a leaderboard was measured with, and how to read it."""
    counts = sorted({row["num_seeds"] for row in board["methods"]})
    seeds = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "0"
    told = (
        f"Mean over {seeds} seeds, \u00b1 their standard deviation. Each method chose among up to three "
        "settings on a third of the documents; these figures are of the others. Answered is the worst of the "
        "three tasks. Unseen text is how much less likely documents became that no model here was trained "
        "on, in nats per token: a good score beside much of it is a model that lost its language. "
    )
    if "retain_only" in board["scores"]:
        told += (
            "Distance, in the same unit, is between the losses of the forgotten documents here and under the "
            "retain-only model."
        )
    else:
        told += "This target has no retain-only model, so there is no distance to it."
    made = (
        f"Measured {board['made']} on {board['target']} (weights {board['weights']['original'][:12]}, data "
        f"{board['data_fingerprint'][:12]}) with {_versions(board)}, by lethe bench."
    )
    parts = (tag("p", told), tag("p", audits_told(board)), tag("p", made, joined_later(board)))
    return tag("div", *parts, class_="le-muted le-source")


def joined_later(board: Board) -> str:
    """Which rows were measured after the others, when and with which versions; empty where none was."""
    later = [row for row in board["methods"] if "made" in row]
    groups = grouped((f"{row['made']} with {_versions(row)}", row["method"]) for row in later)
    return "".join(f" {', '.join(names)}: measured {how}." for how, names in groups.items())


def _versions(made: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in made["versions"].items())


def board_table(
    board: Board,
    order: str = BEST_FIRST,
    methods: Mapping[str, Method] | None = None,
    audits: Mapping[str, str] = NO_TITLES,
) -> Safe:
    """One row a method in the order asked for, below the original's and the retain-only model's. `methods` are
    the declarations by name, whose titles and papers are told; `audits` the titles of audits by name."""
    first, *others = map(capitalised, COLUMNS.values())
    titles = ("Method", first, *HEADS, "Verdict", *others)  # a narrow screen shows the first
    body = [_reference(board, name, audits) for name in board["scores"]]
    body += [_row(row, (methods or {}).get(row["method"]), audits) for row in _sorted(board, order)]
    numbers = {1, 2, *range(5, len(titles))}
    box = scrolled(table(list(map(_head, titles)), body, numbers=numbers), "Leaderboard", tall=True)
    parts = [f"{key} {part}" for key in COLUMNS for part in ("mean", "spread")]
    values = [
        [
            name,
            "",
            *audit_values(audits_of_reference(board, name)),
            *_spread_out({k: {"mean": v} for k, v in of.items()}),
        ]
        for name, of in board["scores"].items()
    ]
    values += [
        [row["method"], _verdict(row), *audit_values(audits_of(row)), *_spread_out(row["figures"])]
        for row in _sorted(board, order)
    ]
    link = csv_link("leaderboard.csv", ["method", "verdict", *CSV_HEADS, *parts], values)
    note = tag("p", _order_note(board), class_="le-muted") if order == BEST_FIRST else None
    return tag("div", tag("div", note), _search(), box, tag("p", link), class_="le-card")


def _head(title: str) -> Safe:
    """A button that sorts by its column."""
    return tag("button", title, type="button", class_="le-sort")


def _search() -> Safe:
    words = "Search methods, settings or audits"
    return tag("input", type="search", placeholder=words, aria_label=words, class_="le-search")


def _order_note(board: Board) -> str:
    """What comes first, and why the first row may have a lower final score than some below it."""
    rows = _sorted(board, BEST_FIRST)
    if any(map(audits_of, rows)):
        return (
            "Methods of which the fewest audits leak come first; of as many, those whose answers are gone, by their "
            "final score. Those not audited yet come last."
        )
    first = rows[0] if rows else None
    above = [row for row in rows[1:] if first and (_mean(row, RANKED_BY) or 0) > (_mean(first, RANKED_BY) or 0)]
    if not above:
        return "Methods whose answers are gone come first, by their final score."
    have = "has" if len(above) == 1 else "have"
    told = f"{len(above)} below {have} a higher final score, but answers that are not gone, or others that were harmed."
    return f"Methods whose answers are gone come first. {told}"


def _spread_out(figures: Row) -> list[float | None]:
    """Mean and spread of every column; None where there is none."""
    return [(figures.get(key) or {}).get(part) for key in COLUMNS for part in ("mean", "spread")]


def board_figure(board: Board, methods: Mapping[str, Method] | None = None) -> Figure:
    """Forgetting against keeping, one mark a method, shaped by its verdict; best is top right. `methods` are the
    declarations by name, whose titles are shown in short."""
    traces: list[Properties] = []

    def called(name: str) -> str:
        told = (methods or {}).get(name)
        return plain(short_method(str(told["title"])) if told else name)

    named = _named(board)
    for label, (color, symbol) in palette.VERDICTS.items():
        rows = [row for row in board["methods"] if _verdict(row) == label]
        points = [(row, _mean(row, "keeping"), _mean(row, "forgetting")) for row in rows]
        shown = [(row, x, y) for row, x, y in points if x is not None and y is not None]
        if shown:
            trace = scatter(
                label,
                [(x, y) for _, x, y in shown],
                "markers+text",
                text=[called(row["method"]) if row["method"] in named else "" for row, _, _ in shown],
                customdata=[called(row["method"]) for row, _, _ in shown],
                textposition=[_beside(x) for _, x, _ in shown],
                textfont={"size": 10},
                hovertemplate=f"%{{customdata}}<br>{_HOVER}",
                marker={"color": color, "symbol": symbol, "size": 10, "opacity": 0.85},
            )
            traces.append(trace)
    for name, found in board["scores"].items():
        if found.get("keeping") is not None and found.get("forgetting") is not None:
            star = {"color": palette.MODELS[name], "symbol": "star", "size": 15}
            place = [(found["keeping"], found["forgetting"])]
            traces.append(scatter(model_title(name), place, hovertemplate=_HOVER, marker=star))
    axes = {
        side: {"title": {"text": words, "standoff": 6}, "range": [-0.05, 1.08]}
        for side, words in (("xaxis", "keeping: retain terms and utility"), ("yaxis", "forgetting"))
    }
    told = "Methods by what they keep and forget"
    return figure(traces, "gallery", told, height=440, legend={"itemsizing": "constant"}, **axes)


def _named(board: Board) -> set[str]:
    """The methods that have their names in the plot: the best of all, and from there down those whose name
    covers no mark and no name already there. The others tell theirs under the pointer, and in the table."""
    marks = {row["method"]: (_mean(row, "keeping"), _mean(row, "forgetting")) for row in board["methods"]}
    placed = [(x, y) for x, y in marks.values() if x is not None and y is not None]
    taken = [(x - _MARK, x + _MARK, y - _MARK, y + _MARK) for x, y in placed]
    named: set[str] = set()
    for row in [*_sorted(board, BEST_FIRST)[:1], *_sorted(board, capitalised(COLUMNS[RANKED_BY]))]:
        x, y = marks[row["method"]]
        if x is None or y is None:
            continue
        wanted = _box(row["method"], x, y)
        if not named or not any(_overlap(wanted, other) for other in taken):
            taken.append(wanted)
            named.add(row["method"])
    return named


Box = tuple[float, float, float, float]  # left, right, bottom, top


def _box(name: str, x: float, y: float) -> Box:
    """What a name covers above and beside its mark."""
    width = _LETTER[0] * len(name)
    left = x + _MARK if x < 0.3 else x - _MARK - width if x > 0.7 else x - width / 2
    return left, left + width, y + _MARK, y + _MARK + _LETTER[1]


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]


def _beside(x: float) -> str:
    """Where a mark's name goes, so that it stays within the plot."""
    return "top right" if x < 0.3 else "top left" if x > 0.7 else "top center"


def _sorted(board: Board, order: str) -> list[Row]:
    key, more_is_better = ORDERS.get(order, ORDERS[BEST_FIRST])  # whoever calls the page's listener may choose none
    missing = float("-inf") if more_is_better else float("inf")

    def value(row: Row) -> tuple[float, bool, float]:
        mean = _mean(row, key)
        figure = missing if mean is None else mean
        return (-fewest_leaks(row), _verdict(row) in GONE, figure) if order == BEST_FIRST else (0.0, False, figure)

    return sorted(board["methods"], key=value, reverse=more_is_better)


def _row(row: Row, method: Method | None, audits: Mapping[str, str]) -> Safe:
    settings = ", ".join(f"{name}={value}" for name, value in row["settings"].items()) or "defaults"
    name = join(_named_method(row["method"], method), tag("div", settings, class_="le-muted"))
    figures = (_cell(row["figures"].get(key)) for key in COLUMNS)
    return _line(name, figures, verdict_tag(_verdict(row)), audit_cells(audits_of(row), audits))


def _named_method(name: str, method: Method | None) -> Safe:
    """The method's title, which leads to what it is, and its paper."""
    if method is None:
        return join(name)
    title = tag("a", method["title"], href=f"?tab=methods&words={name}", title=name)
    found = re.search(r"arXiv (\d{4}\.\d{4,5})", str(method["paper"]))
    if found is None:
        return join(title, " ")
    paper = tag("a", "paper", href=f"https://arxiv.org/abs/{found[1]}", target="_blank", rel="noreferrer")
    return join(title, " ", paper)


def _reference(board: Board, name: str, audits: Mapping[str, str]) -> Safe:
    figures = (score(board["scores"][name].get(key), 3) for key in COLUMNS)
    audited = audit_cells(audits_of_reference(board, name), audits)
    return _line(tag("strong", model_title(name)), figures, None, audited)


def _line(name: Safe, figures: Iterable[str], verdict: Safe | None, audited: tuple[Safe, Safe]) -> Safe:
    first, *others = (tag("td", words, class_="le-number") for words in figures)
    leaks, which = audited
    told = (tag("td", leaks, class_="le-number"), tag("td", which), tag("td", verdict))
    return tag("tr", tag("td", name, class_="le-name"), first, *told, *others)


def _cell(figure: Mapping[str, float | None] | None) -> Safe:
    if not figure or figure["mean"] is None:
        return join(score(None))
    spread = figure["spread"]
    told = None if spread is None else tag("div", f"\u00b1{spread:.3f}", class_="le-muted")
    return join(score(figure["mean"], 3), told)


def _mean(row: Row, key: str) -> float | None:
    value: float | None = row["figures"].get(key, {}).get("mean")
    return value


def _verdict(row: Row) -> str:
    return earlier_word(commonest(row["verdicts"]))
