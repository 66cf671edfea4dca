"""What the models think of an answer: token by token, wording by wording, layer by layer, step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.rephrase import WAYS, way_title
from unlearn_core.report.kit import palette
from unlearn_core.report.kit.figure import Properties, figure, scatter
from unlearn_core.report.kit.format import count, likely, model_title, percent, score, shorten
from unlearn_core.report.kit.markup import Safe, details, join, tag
from unlearn_core.report.kit.models import named
from unlearn_core.report.kit.table import data_table, scrolled, table
from unlearn_core.report.run.live.curves import LOG_PROBABILITY
from unlearn_core.runs.state import RunState

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from unlearn_core.evaluation.phrasings import WordingReply
    from unlearn_core.models.inference.inspect import Inspection, TokenView

MARKERS = {"original": "circle", "unlearned": "square", "retain_only": "diamond"}
LEAKS_FROM = 0.5


def token_rows(seen: Mapping[str, Inspection]) -> Safe:
    """The answer once per model, each token tinted by its probability; hover or focus tells the rest."""
    rows = []
    for model, found in seen.items():
        head = tag(
            "h3",
            named(model),
            tag("span", f"{likely(found.probability)} as a whole", class_="le-tag"),
            tag("span", f" {percent(found.per_token)} per token", class_="le-muted"),
        )
        tokens = tag("div", *(_token(one) for one in found.tokens), class_="le-token-line")
        rows.append(tag("div", head, tokens, class_=f"le-token-row le-tint-{model}"))
    told = (
        "The stronger the tint and the longer the line under a token, the likelier it is after all before "
        "it. Hover or step with the Tab key for its rank and what the model would rather say."
    )
    return join(tag("p", told, class_="le-muted"), *rows)


def _token(one: TokenView) -> Safe:
    rivals = "; ".join(f"{visible(words)} {percent(p)}" for words, p in one.alternatives)
    told = f"{percent(one.probability)}, rank {one.rank:,}"
    tip = tag("span", tag("b", told), tag("span", f"Likeliest here: {rivals}"), class_="le-tip")
    return tag(
        "button",
        tag("span", visible(one.text), class_="le-token-text"),
        tip,
        type="button",
        class_="le-token",
        style=f"--p:{one.probability:.3f}",
        aria_label=f"{visible(one.text)}: {told}. Likeliest here: {rivals}",
    )


def visible(token: str) -> str:
    """A token with its white space made visible where it would vanish."""
    shown = token.replace("\n", "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}").strip(" ")
    return shown or "\N{OPEN BOX}"


def layers_figure(seen: Mapping[str, Inspection]) -> Figure:
    """Probability per answer token read after each layer, one line per model."""
    lines = {model: list(enumerate(found.layers)) for model, found in seen.items() if found.layers}
    last = max((len(line) for line in lines.values()), default=2) - 1
    share = {"range": [-0.03, 1.03], "tickformat": ".0%", "nticks": 6}
    return _chart("layers", "Probability per answer token by layer", "layer", lines, last, share)


def steps_figure(story: RunState, prompt: str) -> Figure:
    """Probability of the whole probed answer after each probe of the run, where it was among those watched."""
    points = watched(story, prompt)
    last = story.started.num_steps if story.started else (points[-1][0] if points else 1)
    told, lines = "Probability of the whole answer by training step", {"unlearned": points} if points else {}
    return _chart("steps", told, "training step", lines, last, LOG_PROBABILITY)


def watched(story: RunState, prompt: str) -> list[tuple[int, float]]:
    """(step, probability) of the fact that was asked like this; empty where the run did not watch it."""
    facts = ((p.step, f.probability) for p in story.probes for f in p.facts if f.prompt == prompt)
    return [(step, chance) for step, chance in facts if chance is not None]


def fade_tables(seen: Mapping[str, Inspection], story: RunState | None, prompt: str) -> tuple[Safe, Safe]:
    """The numbers of both charts, each with its one-line reading."""
    models = [model for model in seen if seen[model].layers]
    rows = [
        ["embeddings" if layer == 0 else layer, *(seen[m].layers[layer] for m in models)]
        for layer in range(min((len(seen[m].layers) for m in models), default=0))
    ]
    layers = data_table(
        "Probability per answer token after each layer",
        ["Layer", *map(model_title, models)],
        rows,
        "layers.csv",
    )
    if not rows:
        layers = tag("p", "This architecture's layers cannot be read one by one.", class_="le-muted")
    points = watched(story, prompt) if story else []
    if points:
        steps = data_table(
            "Probability of the whole answer during the run", ["Step", "Probability"], points, "steps.csv"
        )
    elif story and story.probes:
        facts = {f.prompt: None for p in story.probes for f in p.facts}
        told = "The run did not watch this fact. It watched: " + "; ".join(shorten(f, 70) for f in facts)
        steps = tag("p", told, class_="le-muted")
    else:
        steps = tag("p", "There is no run on screen whose steps could be shown.", class_="le-muted")
    return layers, steps


def ways_strip(told: Mapping[str, Sequence[WordingReply]], to_forget: bool) -> Safe:
    """One row per way of asking and one column per model: what the worst wording told."""
    ways = [way for way in WAYS if any(one.asked.way == way for rows in told.values() for one in rows)]
    rows = [
        tag(
            "tr",
            tag("th", way_title(way), scope="row"),
            *(_cell(model, [one for one in rows if one.asked.way == way], to_forget) for model, rows in told.items()),
        )
        for way in ways
    ]
    made = table(["Asked", *map(named, told)], rows, class_="le-table le-ways")
    reading = tag("p", _reading(told, ways, to_forget), class_="le-ways-told", role="status")
    return join(reading, scrolled(made, "Ways of asking"))


def _reading(told: Mapping[str, Sequence[WordingReply]], ways: list[str], to_forget: bool) -> str:
    rows = told.get("unlearned")
    if rows is None:
        return "This is what the original tells."
    through = [way for way in ways if any(one.asked.way == way and one.score >= LEAKS_FROM for one in rows)]
    if to_forget:
        if not through:
            return f"Nothing leaks: none of {count(len(ways), 'way')} of asking gets the answer."
        return f"Still leaks when asked: {', '.join(map(way_title, through))}."
    lost = [way for way in ways if way not in through]
    if not lost:
        return "Kept: every way of asking gets the answer."
    return f"No longer answered when asked: {', '.join(map(way_title, lost))}. See beside it what the original answers."


def _cell(model: str, told: list[WordingReply], to_forget: bool) -> Safe:
    if not told:
        return tag("td", "does not apply", class_="le-muted")
    most = max(told, key=lambda one: one.score)
    leaks = most.score >= LEAKS_FROM
    kind = ("le-forget" if leaks else "le-retain") if to_forget and model == "unlearned" else "le-plain"
    words = ("tells it" if leaks else "does not") + ("" if len(told) == 1 else f" ({count(len(told), 'prompt')})")
    return tag(
        "td",
        tag("span", words, class_=f"le-tag {kind}"),
        tag("span", score(most.score), class_="le-number le-muted"),
        _said(most),
        details("all of them", *(_said(one) for one in told)) if len(told) > 1 else None,
    )


def _said(one: WordingReply) -> Safe:
    return tag(
        "p",
        tag("span", one.asked.shown, class_="le-muted"),
        " ",
        tag("b", shorten(one.output, 160) or "(empty)"),
    )


def _chart(
    name: str, told: str, axis: str, lines: Mapping[str, Sequence[tuple[int, float]]], last: int, upwards: Properties
) -> Figure:
    traces = []
    for model, points in lines.items():
        color = palette.MODELS[model]
        line = {"color": color, "width": 2, "dash": "dash" if model == "retain_only" else "solid"}
        marker = {"color": color, "size": 7, "symbol": MARKERS[model]}
        traces.append(scatter(model_title(model), points, "lines+markers", line=line, marker=marker))
    across = {"title": {"text": axis, "standoff": 4}, "nticks": 8, "range": [-0.03 * last, 1.03 * last]}
    return figure(traces, name, told, height=240, xaxis=across, yaxis=upwards)
