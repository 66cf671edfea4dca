"""The same prompts put to the original, the unlearned and the retain-only model, worst first.

Words that an answer shares with the gold answer, in order, are underlined: in the forget set they are
what leaks, in the retain set what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

from unlearn_core.data.last_turn import last_turn
from unlearn_core.evaluation.protocols.semeval import task_title
from unlearn_core.evaluation.scores import Generation, Scores
from unlearn_core.evaluation.verdict.rows import is_told
from unlearn_core.report.kit.diff import compare
from unlearn_core.report.kit.format import count, score
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.models import answer_column, named

ORDERS = ("Worst first", "Best first", "As listed")
MODELS = ("original", "unlearned", "retain_only")


@dataclass(frozen=True)
class ComparedPrompt:
    """One prompt with every model's answer to it."""

    answers: dict[str, Generation]

    @property
    def row(self) -> Generation:
        return next(iter(self.answers.values()))

    @property
    def to_forget(self) -> bool:
        return self.row.split.startswith("forget")

    @property
    def harm(self) -> tuple[float, float]:
        """How bad the unlearned answer is: what leaks of a forgotten fact, what is lost of a kept one;
        ties are broken by how much less the retain-only model would leak or lose."""
        ours = _told(self.answers["unlearned"]) if "unlearned" in self.answers else 0.0
        gold = self.answers["retain_only"].score if "retain_only" in self.answers else 0.0
        return (ours, -gold) if self.to_forget else (-ours, gold)


def _told(row: Generation) -> float:
    """1 for an answer that is told in whatever words, else its score."""
    return 1.0 if is_told(row) and row.kind == "question" else row.score


def splits(scores: dict[str, Scores]) -> list[str]:
    """The kinds of prompt there are answers for, in the order they were scored."""
    return list(dict.fromkeys(g.split for row in scores.values() for g in row.generations))


def items(scores: dict[str, Scores], split: str, order: str = ORDERS[0]) -> list[ComparedPrompt]:
    """The prompts of one kind, in the asked order."""
    answers: dict[tuple[str, str], dict[str, Generation]] = {}
    for model in MODELS:
        if model in scores:
            for row in scores[model].generations:
                if row.split == split:
                    answers.setdefault((row.id, row.input), {})[model] = row
    found = [ComparedPrompt(by_model) for by_model in answers.values()]
    if order == ORDERS[0]:
        found.sort(key=lambda item: item.harm, reverse=True)
    elif order == ORDERS[1]:
        found.sort(key=lambda item: item.harm)
    return found


def side_by_side(scores: dict[str, Scores], split: str, order: str = ORDERS[0], limit: int = 6) -> Safe:
    """The first `limit` prompts of one kind as cards, with a line that says how many there are."""
    found = items(scores, split, order)
    if not found:
        return tag("p", "No answers of this kind were recorded.", class_="le-muted")
    shown = found[:limit]
    bad = sum(is_bad(item) for item in found)
    state = "still told" if found[0].to_forget else "lost"
    counted = f"{count(len(found), 'prompt')}, {bad:,} {state}; {len(shown)} shown. "
    legend = "Underlined are words of the gold answer, in order."
    return join(tag("p", counted, legend, class_="le-muted"), *(card(item) for item in shown))


def is_bad(item: ComparedPrompt) -> bool:
    """Whether the unlearned model still tells a forgotten fact, or no longer a kept one."""
    row = item.answers.get("unlearned")
    return row is not None and is_told(row) == item.to_forget


def card(item: ComparedPrompt) -> Safe:
    """One prompt, its gold answer, and what each model wrote."""
    row = item.row
    task = task_title(row.task)
    heading = tag(
        "header",
        tag("span", task, class_="le-tag"),
        tag("p", last_turn(row.input), class_="le-question"),
        tag("p", tag("span", "Gold answer ", class_="le-muted"), row.gold, class_="le-gold"),
    )
    columns = [_answer(model, item.answers[model], item.to_forget) for model in MODELS if model in item.answers]
    return tag("article", heading, tag("div", *columns, class_="le-answers"), class_="le-card le-item")


def _answer(model: str, row: Generation, to_forget: bool) -> Safe:
    return answer_column(model, named(model, " ", badge(row)), answer_text(row.gold, row.output, to_forget))


def badge(row: Generation) -> Safe:
    """What the score of one answer says, in words."""
    if row.kind == "question":
        words = "exact" if row.score >= 1.0 else "told" if is_told(row) else "not the answer"
    else:
        words = f"recites {score(row.score)}"
    harmful = is_told(row) == row.split.startswith("forget")
    return tag("span", words, class_=f"le-tag {'le-forget' if harmful else 'le-plain'}")


def answer_text(gold: str, output: str, to_forget: bool) -> Safe:
    """An answer with the words it shares with the gold answer marked; says so when it is empty."""
    if not output.strip():
        return tag("p", tag("em", "(empty answer)"), class_="le-output le-muted")
    kind = "le-leak" if to_forget else "le-kept"
    pieces = [tag("mark", p.text, class_=kind) if p.matches else p.text for p in compare(gold, output.strip())]
    return tag("p", *pieces, class_="le-output")
