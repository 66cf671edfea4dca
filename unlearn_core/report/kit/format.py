"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
import re

from unlearn_core.system.units import MISSING
from unlearn_core.system.units import score as score

_IN_SHORT = re.compile(r"^(?P<long>.+?) \((?P<short>[^)]+)\)$")
MODEL_TITLES = {
    "original": "Original",
    "unlearned": "Unlearned",
    "retain_only": "Retain-only",
}
SPLIT_TITLES = {
    "forget": "Forgotten",
    "retain": "Retained",
    "forget paraphrase": "Forgotten, asked in a new way",
    "retain paraphrase": "Retained, asked in a new way",
    "forget wording": "Forgotten, in wordings made here",
    "neighbours": "Neighbours",
    "general": "General knowledge",
}


def likely(value: float | None) -> str:
    """A probability of any size: `97%`, `3.1%`, `1 in 24,000`, `1 in 10^12`, `n/a`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if value >= 0.1 or value == 0:
        return percent(value)
    if value >= 0.01:
        return f"{100 * value:.1f}%"
    if value < 1e-9:
        return f"1 in 10^{math.floor(-math.log10(value))}"  # 1 / value may be beyond all floats
    return f"1 in {float(f'{1 / value:.2g}'):,.0f}"


def percent(value: float | None) -> str:
    """A probability as a percentage: `97%`, `<1%`, `n/a`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0.0 < value < 0.01:
        return "<1%"
    if 0.99 < value < 1.0:
        return "99%"
    return f"{value * 100:.0f}%"


def count(number: int, singular: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {singular if number == 1 else singular + 's'}"


def capitalised(words: str) -> str:
    """The words as a heading begins: `MIA score` and `Final score`."""
    return f"{words[:1].upper()}{words[1:]}"


def uncapitalised(words: str) -> str:
    """The words as they stand within a sentence: `stories, answering`, but `ROUGE-L recall`."""
    return words if words[1:2].isupper() else f"{words[:1].lower()}{words[1:]}"


def model_title(model: str) -> str:
    return MODEL_TITLES.get(model, model)


def split_title(split: str) -> str:
    return SPLIT_TITLES.get(split, split)


def shorten(words: str, limit: int) -> str:
    """At most `limit` characters, cut at a word where one ends near the limit."""
    flat = " ".join(words.split())
    if len(flat) <= limit:
        return flat
    cut = flat[: limit - 3]
    head, _, _ = cut.rpartition(" ")
    return (head if len(head) >= limit // 2 else cut) + "..."


def ago(seconds: float) -> str:
    """How long ago, in words."""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 86400:
        return f"{seconds // 3600:.0f} h ago"
    return f"{count(int(seconds // 86400), 'day')} ago"


def short_method(title: str) -> str:
    """A method's short name: "NPO" of "Negative preference optimisation (NPO)", "Lethe" of "Lethe (matched ...)"."""
    match = _IN_SHORT.match(title)
    if match is None:
        return title
    return match["short"] if " " not in match["short"] else match["long"]
