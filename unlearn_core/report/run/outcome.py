"""The result on one screen: the headline, what is gone and what is kept, and three answers before and after."""

from __future__ import annotations

from collections.abc import Callable

from unlearn_core.evaluation.verdict import Layer, Verdict
from unlearn_core.report.kit.format import percent, shorten
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.mend import mend_button
from unlearn_core.report.run.answers.sidebyside import ComparedPrompt, badge, items, splits
from unlearn_core.report.run.live.fade import KEPT, NUM_FORGET, NUM_KEPT, asked, replay
from unlearn_core.report.run.verdict import banner, headline_banner
from unlearn_core.runs.events import Failed
from unlearn_core.runs.state import RunState


def outcome(story: RunState, drawing: Callable[[RunState], Safe] = replay) -> Safe:
    """Headline, shares and answers of a judged run; why there is none of one that ended otherwise. drawing: how the
    watched answers fade, where there are any."""
    if story.verdict is None:
        return join(banner(story), mend_button(story.end.action) if isinstance(story.end, Failed) else None)
    found = Verdict.from_json(story.verdict)
    return join(headline_banner(story), figures(found), drawing(story) or answers(story))


def figures(found: Verdict) -> Safe:
    """The shares of the asked answers that are gone, and of others and of general ability that are kept."""
    wordings, answers_layer, general = (found.layer(name) for name in ("wordings", "answers", "general"))
    # Where no general question was known, it is told by how likely text is that nobody trained on.
    measured = "general questions" if general.n else "likelihood of unseen text"
    tiles = [
        _figure("gone", _gone(answers_layer), answers_layer, "prompts to forget"),
        _figure("gone", _gone(wordings), wordings, "reworded prompts"),
        _figure("kept", found.layer("neighbours").value, found.layer("neighbours"), "prompts about others"),
        _figure("kept", general.value, general, measured),
    ]
    shown = [tile for tile in tiles if tile is not None]
    return tag("dl", *shown, class_="le-outcome-figures") if shown else Safe("")


def _gone(layer: Layer) -> float | None:
    """Of the answers that the original told, the share that is no longer told."""
    return None if layer.value is None or layer.before == 0.0 else 1 - layer.value


def _figure(word: str, share: float | None, layer: Layer, told: str) -> Safe | None:
    if share is None:
        return None
    tone = {"holds": "good", "leaks": "fair", "harmed": "bad"}.get(layer.state, "plain")
    number = f"of {layer.n:,} " if layer.n else ""
    shown = tag("dd", tag("b", percent(share), class_=f"le-text-{tone}"), f" {word}")
    return tag("div", shown, tag("dt", f"{number}{told}"))


def answers(story: RunState) -> Safe:
    """Three answers before and after, for a run whose answers were not watched: the worst ones."""
    kinds = splits(story.scores)
    kept = next((kind for kind in KEPT if kind in kinds), "")
    chosen: list[ComparedPrompt] = []
    for kind, number in (("forget", NUM_FORGET), (kept, NUM_KEPT)):
        found = items(story.scores, kind) if kind in kinds else []
        questions = [item for item in found if item.row.kind == "question"] or found
        chosen += questions[:number]
    return tag("div", *map(_card, chosen), class_="le-fade-cards") if chosen else Safe("")


def _card(item: ComparedPrompt) -> Safe:
    kind = "forget" if item.to_forget else "retain"
    lines = []
    for model, title in (("original", "Before"), ("unlearned", "Now")):
        if row := item.answers.get(model):
            mark = badge(row) if model == "unlearned" else None
            lines.append(tag("p", f"{title}: ", tag("b", shorten(row.output, 60) or "(empty)"), " ", mark))
    return tag("article", asked(kind, item.row.input), *lines, class_=f"le-fade-card le-{kind}-edge")
