"""Knowledge traces as a table of words: what each neuron wrote before and writes now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unlearn_core.evaluation.traces import summary
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.table import Cell, data_table, scrolled
from unlearn_core.report.run.answers.tokens import visible

if TYPE_CHECKING:
    from unlearn_core.evaluation.traces import Trace

HEADER = ("Set", "Layer", "Neuron", "Adds to the answers", "Cosine", "Moved", "Words kept", "Before", "After")
_TITLES = {"forget": "Forgotten", "retain": "Retained"}
_STILL = 1e-6  # relative change that is none


def traces_view(found: Sequence[Trace]) -> Safe:
    """One sentence, the neurons of both sets as rows of words, and the numbers with their CSV."""
    head = tag(
        "tr",
        *(tag("th", words, scope="col") for words in ("Neuron", "Words it wrote", "Words it writes now")),
        *(tag("th", words, scope="col", class_="le-number") for words in ("Words kept", "Moved")),
    )
    groups = [
        tag("tbody", tag("tr", tag("th", title, colspan="5", scope="rowgroup")), *map(_row, own))
        for split, title in _TITLES.items()
        if (own := [trace for trace in found if trace.split == split])
    ]
    caption = tag("caption", "Neurons that add most to each set's answers")
    scroll = scrolled(
        tag("table", caption, tag("thead", head), *groups, class_="le-table"), "Neurons as words", tall=True
    )
    numbers = data_table("Value vectors before and after", HEADER, [cells(t) for t in found], "traces.csv")
    return join(tag("p", reading(found)), scroll, numbers)


def reading(found: Sequence[Trace]) -> str:
    """What the figures say, in one or two sentences."""
    means = summary(found)
    if not {"forget", "retain"} <= means.keys():
        return "No neurons were compared."
    gone, held = means["forget"], means["retain"]
    if max(gone["distance"], held["distance"]) < _STILL:
        return "Not one of these neurons has changed: whatever is hidden is hidden elsewhere."
    told = (
        f"The neurons that held the forgotten answers moved by {gone['distance']:.1%} of their length and "
        f"keep {gone['overlap']:.0%} of their words; those of the retained answers moved by "
        f"{held['distance']:.1%} and keep {held['overlap']:.0%}."
    )
    more = gone["distance"] > 1.25 * held["distance"]
    return told + (" The change is aimed." if more else " The change is not aimed at what was to go.")


def cells(trace: Trace) -> list[Cell]:
    """One row of the downloadable table."""
    words = [" | ".join(map(visible, each)) for each in (trace.before, trace.after)]
    numbers = [trace.gain, trace.cosine, trace.distance, trace.overlap]
    return [_TITLES[trace.split], trace.layer, trace.neuron, *numbers, *words]


def _row(trace: Trace) -> Safe:
    name = f"layer {trace.layer}, {trace.neuron}"
    lost = set(trace.before) - set(trace.after)
    return tag(
        "tr",
        tag("th", name, scope="row"),
        tag("td", _words(trace.before, lost)),
        tag("td", _words(trace.after, set())),
        tag("td", f"{trace.overlap:.0%}", class_="le-number"),
        tag("td", f"{trace.distance:.1%}", class_="le-number"),
    )


def _words(words: Sequence[str], lost: set[str]) -> Safe:
    """Words apart from each other, those no longer among the first struck through."""
    return join(*(tag("del" if word in lost else "code", visible(word), class_="le-word") for word in words))
