"""What the layers allow to be said: a headline, a word, and a sentence. It never claims what was not measured.

original does not know it          Nothing to forget
wrecked                            Collapsed
answers or wordings leak           Not forgotten / Nothing was forgotten
the weights were not touched       Hidden, not forgotten
neighbours or general harmed       Over-forgotten
otherwise                          Answers gone; then membership and attacks
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unlearn_core.evaluation.verdict.rows import MARGIN
from unlearn_core.evaluation.verdict.types import Layer

# Attacks that must have been held off before a run is called forgotten: on the weights, and by asking.
DECISIVE = frozenset(("relearning", "quantisation", "paraphrase", "sampling"))


@dataclass(frozen=True, slots=True)
class HeadlineFacts:
    """What is known beside the layers. unmoved: nothing changed at all; withheld: the answers are not said, but
    still preferred; hidden: why the weights still hold it all; tried: the attacks that were made; played: how many
    facts got out by players' words, where nothing else shows that wordings leak."""

    wrecked: bool = False
    unmoved: bool = False
    withheld: bool = False
    hidden: str = ""
    tried: frozenset[str] = frozenset()
    played: int = 0


def headline(layers: Mapping[str, Layer], found: HeadlineFacts) -> tuple[str, str, str]:
    """(headline, word, summary) of the layers by name."""
    answers, wordings = layers["answers"], layers["wordings"]
    harmed = [name for name in ("neighbours", "general") if layers[name].state == "harmed"]
    if answers.before == 0.0:
        if found.wrecked or harmed:
            return _nothing_but_harm(found.wrecked, harmed)
        return (
            "Nothing to forget: the original does not know it",
            "unchanged",
            "Of these facts the original model tells none, so forgetting them cannot be seen.",
        )
    if found.wrecked:
        return (
            "Collapsed: what should stay is gone too",
            "collapsed",
            "The model is wrecked, so its score means nothing.",
        )
    said = wordings.state == "leaks" or (answers.state == "leaks" and not found.withheld)
    if found.hidden and not said:
        ending = f"; {_harm(harmed)}" if harmed else ""
        return f"Hidden, not forgotten: {found.hidden}{ending}", "under-forgotten", _HIDDEN
    if said or found.withheld:
        return _not_forgotten(answers, wordings, found, harmed)
    traces = _traces(layers)
    if harmed:
        open_ends = [part for part in traces if "not attacked" not in part]
        return "; ".join([f"Over-forgotten: {_harm(harmed)}", *open_ends]), "over-forgotten", _OVER
    if answers.state == "not measured":
        return "; ".join(["Not judged: the answers could not be read", *traces]), "unchanged", answers.reasons[0]
    return "; ".join(["Answers gone", *traces]), _word(layers, found), _summary(layers)


_HIDDEN = "Without that cover all of it is there."
_OVER = "More went than asked."


def _nothing_but_harm(wrecked: bool, harmed: list[str]) -> tuple[str, str, str]:
    if wrecked:
        told = "Collapsed: there was nothing to forget, and what should stay is gone"
        return told, "collapsed", "The original did not know these facts, and the model is wrecked."
    told = f"Nothing to forget, and {_harm(harmed)}"
    return told, "over-forgotten", "The original did not know these facts; the run took others instead."


def _not_forgotten(answers: Layer, wordings: Layer, found: HeadlineFacts, harmed: list[str]) -> tuple[str, str, str]:
    also = f"; {_harm(harmed)}" if harmed else ""
    if answers.state != "leaks" and found.played:
        facts = "1 fact" if found.played == 1 else f"{found.played} facts"
        told = f"Not forgotten: players got {facts} out in words of their own"
        return told + also, "under-forgotten", "Other wordings than Lethe's bring it."
    if answers.state != "leaks":
        told = f"Not forgotten: asked in other words, {_share(wordings)} still told"
        return told + also, "under-forgotten", "Only the trained wording no longer brings the answers."
    if found.unmoved:
        return "Nothing was forgotten" + also, "unchanged", "The model answers as it did before."
    if found.withheld:
        told = "Answers withheld, not gone: the right ones are still preferred"
        return told + also, "under-forgotten", "Among their like they are still the likeliest."
    told = f"Not forgotten: {_share(answers)} still told"
    if answers.n and answers.value is not None and answers.value < MARGIN:  # no whole answer, but pieces of texts
        told = "Not forgotten: parts of its texts are still recited"
    return told + also, "under-forgotten", "Part of it stayed."


def _traces(layers: Mapping[str, Layer]) -> list[str]:
    """What membership and attacks add to the headline."""
    parts = []
    if layers["membership"].state == "leaks":
        parts.append("membership visible")
    attacks = layers["attacks"]
    if attacks.state == "not measured":
        parts.append("not attacked yet")
    elif attacks.state == "leaks" and attacks.value is not None:
        parts.append(f"traces remain in {round(attacks.value * attacks.n)} of {attacks.n} attacks")
    else:
        parts.append(f"no trace in {attacks.n} attack{'s' if attacks.n != 1 else ''}")
    return parts


def _word(layers: Mapping[str, Layer], found: HeadlineFacts) -> str:
    if "leaks" in (layers["membership"].state, layers["attacks"].state):
        return "traces remain"
    measured = all(layers[name].state == "holds" for name in ("answers", "wordings", "neighbours", "general"))
    return "forgotten" if measured and found.tried >= DECISIVE else "answers gone"


def _summary(layers: Mapping[str, Layer]) -> str:
    """What was kept, of what was asked; and what was not asked."""
    parts = []
    kept = layers["neighbours"]
    if kept.state == "holds":
        parts.append(f"Of prompts about others, {_share(kept)} kept.")
    absent = [
        name for name in ("wordings", "neighbours", "general", "membership") if layers[name].state == "not measured"
    ]
    if absent:
        parts.append(f"Not measured: {', '.join(absent)}.")
    return " ".join(parts) or "The forget set is no longer told."


def _harm(harmed: list[str]) -> str:
    names = {"neighbours": "others", "general": "general ability"}
    words = " and ".join(names[name] for name in harmed)
    return f"{words} {'was' if harmed == ['general'] else 'were'} harmed"


def _share(layer: Layer) -> str:
    if layer.value is None:
        return "some of it is"
    if layer.n:
        return f"{round(layer.value * layer.n)} of {layer.n} are"
    return f"{layer.value:.0%} is"
