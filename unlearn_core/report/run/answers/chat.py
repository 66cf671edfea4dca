"""Two models' answers to the same questions, side by side, with the tokens of the struck name marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unlearn_core.report.kit.format import percent
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.models import answer_column, named

MODELS = ("original", "unlearned")  # the two that answer, in this order


def conversation(turns: Sequence[Mapping[str, Any]], recorded: bool = False, writing: bool = False) -> Safe:
    """Turns as {"question", "answers": {model: pieces}}, the last one still being written where `writing`."""
    blocks = [
        tag(
            "div",
            tag("p", tag("strong", "You: "), turn["question"]),
            tag(
                "div",
                *(_column(m, turn["answers"].get(m, ()), writing and turn is turns[-1]) for m in MODELS),
                class_="le-answers",
            ),
            class_="le-card",
        )
        for turn in turns
    ]
    note = (
        tag("p", tag("span", "Recorded", class_="le-tag"), " The models are not asked anew here.") if recorded else None
    )
    return tag("div", note, join(*blocks), aria_live="polite", aria_busy="true" if writing else "false")


def _column(model: str, pieces: Sequence[tuple[str, Mapping[str, float] | None]], writing: bool) -> Safe:
    shown = [_piece(words, chances) for words, chances in pieces]
    empty = not any(str(words).strip() for words, _ in pieces)
    kind = "le-output" + (" le-caret" if writing else "") + (" le-muted" if empty else "")
    words = tag("p", "(empty answer)" if empty and not writing else join(*shown), class_=kind)
    return answer_column(model, named(model), words)


def _piece(words: str, chances: Mapping[str, float] | None) -> Safe | str:
    """A token of the name, with how probable it is to the original and to the unlearned model."""
    if not chances:
        return words
    told = " \u2192 ".join(percent(chances.get(model, 0.0)) for model in MODELS)
    return join(
        tag("mark", words, class_="le-leak", title=f"Probability before and after: {told}"),
        tag("small", f" {told}", class_="le-muted"),
    )
