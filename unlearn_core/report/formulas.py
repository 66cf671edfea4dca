"""Each metric's formula, declared once, and shown on hover and on focus wherever its name stands."""

from __future__ import annotations

from unlearn_core.report.markup import Safe, tag

SCORES = {
    "final_score": "(task aggregate + membership score + utility) / 3",
    "task_aggregate": "12 / (1/t1 + ... + 1/t12): the harmonic mean of the twelve terms",
    "mia_score": "1 - 2 |AUC - 0.5|, AUC of the loss: forgotten documents against never-seen ones",
    "utility": "questions answered right / four-option questions asked",
}
_METRICS = {
    "regurgitation": "mean over texts of ROUGE-L recall: longest common subsequence / words of the true "
    "continuation",
    "knowledge": "questions whose whole answer is the gold answer / questions asked",
}


def term_formula(term: str) -> str:
    """The formula of one of the twelve terms, as the aggregate counts it: `forget/Task1/knowledge`."""
    split, _, metric = term.split("/")
    return f"1 - {_METRICS[metric]}" if split == "forget" else _METRICS[metric]


def explained(name: str, words: str, formula: str) -> Safe:
    """`words` with a formula that hover and focus show; `name` is unlike any other on the page."""
    tip = tag("span", formula, class_="le-tip", id=f"le-formula-{name}", role="tooltip")
    button = tag("button", words, type="button", class_="le-explained", aria_describedby=f"le-formula-{name}")
    return tag("span", button, tip, class_="le-explains")
