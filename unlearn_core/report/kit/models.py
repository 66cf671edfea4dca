"""A model by its dot and name, and what models answer under them, beside each other."""

from __future__ import annotations

from collections.abc import Iterable

from unlearn_core.report.kit.format import model_title
from unlearn_core.report.kit.markup import Safe, join, tag


def dot(model: str) -> Safe:
    """The mark of a model in its colour and shape."""
    return tag("i", class_=f"le-dot le-{model}", aria_hidden="true")


def named(model: str, *more: object) -> Safe:
    """The mark of a model before its name."""
    return join(dot(model), model_title(model), *more)


def answer_column(name: str, head: object, answer: Safe) -> Safe:
    """An answer under its head, with the edge of the model or run `name`."""
    return tag("div", tag("h3", head), answer, class_=f"le-answer-column le-{name}-edge")


def growing(columns: Iterable[tuple[str, object, str]], done: bool, class_: str = "le-answers") -> Safe:
    """Answers so far, as (name, head, words); a caret says that more may come, a screen reader hears finished ones."""
    blocks = []
    for name, head, words in columns:
        kind = "le-output" + ("" if done else " le-caret") + ("" if words else " le-muted")
        shown = tag("p", words.strip() or ("(empty answer)" if done else ""), class_=kind)
        blocks.append(answer_column(name, head, shown))
    return tag("div", *blocks, class_=class_, aria_live="polite", aria_busy="false" if done else "true")
