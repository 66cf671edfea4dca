"""Numbers, times and names as people read them."""

from __future__ import annotations

import math
import re

MODEL_TITLES = {
    "original": "Original",
    "unlearned": "Unlearned",
    "retain_only": "Retain-only",
}
TASK_TITLES = {"Task1": "Stories", "Task2": "Personal data", "Task3": "Biographies", "general": "General"}
METRIC_TITLES = {"regurgitation": "reciting", "knowledge": "answering"}
SPLIT_TITLES = {
    "forget": "Forgotten",
    "retain": "Retained",
    "forget paraphrase": "Forgotten, asked in a new way",
    "retain paraphrase": "Retained, asked in a new way",
    "general": "General knowledge",
}
MISSING = "n/a"


def score(value: float | None, digits: int = 2) -> str:
    """A score between 0 and 1, or `n/a`; never rounds an imperfect score up to a perfect one."""
    if value is None or not math.isfinite(value):
        return MISSING
    shown = f"{value:.{digits}f}"
    edge = 10.0**-digits
    if float(shown) == 1.0 and value < 1.0:
        return f"{1.0 - edge:.{digits}f}"
    if float(shown) == 0.0 and value > 0.0:
        return f"<{edge:.{digits}f}"
    return shown


def percent(value: float | None) -> str:
    """A probability as a percentage: `97%`, `<1%`, `n/a`."""
    if value is None or not math.isfinite(value):
        return MISSING
    if 0.0 < value < 0.01:
        return "<1%"
    if 0.99 < value < 1.0:
        return "99%"
    return f"{value * 100:.0f}%"


def duration(seconds: float | None) -> str:
    """A length of time: `0.4 s`, `24 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return MISSING
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def term_title(term: str) -> str:
    """`forget/Task2/knowledge` as `Personal data, answering`."""
    _, task, metric = term.split("/")
    return f"{TASK_TITLES.get(task, task)}, {METRIC_TITLES.get(metric, metric)}"


def in_words(told: str) -> str:
    """A sentence with the benchmark's names of terms and tasks as the page calls them:
    `forget/Task1/knowledge` as `stories, answering, on the forget set`."""

    def term(found: re.Match[str]) -> str:
        return f"{term_title(found[0]).lower()}, on the {found[0].split('/')[0]} set"

    named = re.sub(r"\b(?:forget|retain)/Task\d/(?:regurgitation|knowledge)\b", term, told)
    return re.sub(r"\bTask[123]\b", lambda found: TASK_TITLES[found[0]].lower(), named)


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
