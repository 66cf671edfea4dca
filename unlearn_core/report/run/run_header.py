"""Which run is on screen, in one line that stays while the page is scrolled."""

from __future__ import annotations

import time
from dataclasses import dataclass

from unlearn_core.report.kit.format import ago
from unlearn_core.report.kit.markup import Safe, tag


@dataclass(frozen=True)
class RunTitle:
    """What a run is called in words, when it began (seconds since 1970), and whose it is."""

    method: str
    model: str
    data: str
    seed: int
    created: float
    whose: str


def run_header(title: RunTitle) -> Safe:
    """Method, model, what is forgotten, seed, age and whose."""
    age = tag("time", ago(time.time() - title.created), data_since=f"{title.created:.0f}")
    facts = (title.model, title.data, f"seed {title.seed}", age, title.whose)
    parts = [tag("span", words) for words in facts]
    return tag("header", tag("strong", title.method), *parts, class_="le-run-header", aria_label="The run on screen")


# The page's own clock keeps the ages true.
AGES = """() => setInterval(() => {
  for (const age of document.querySelectorAll('time[data-since]')) {
    const minutes = Math.floor((Date.now() / 1000 - Number(age.dataset.since)) / 60);
    const [unit, size] = [['day', 1440], ['h', 60], ['min', 1]].find(([, size]) => minutes >= size) ?? ['', 1];
    const number = Math.floor(minutes / size);
    age.textContent = unit ? `${number} ${unit}${unit === 'day' && number > 1 ? 's' : ''} ago` : 'just now';
  }
}, 20000)"""
