"""Where a run is: the stages, the bar, and the watched facts with their probability now."""

from __future__ import annotations

from unlearn_core.report.format import count, duration, percent, shorten
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.report.story import Story
from unlearn_core.runs.events import Cancelled, Fact, Failed, Finished

STAGE_TITLES = {
    "load": "Loading",
    "score original": "Scoring the original",
    "score retain-only": "Scoring the gold standard",
    "unlearn": "Unlearning",
    "save": "Saving",
    "score unlearned": "Scoring the result",
}


def stage_title(stage: str) -> str:
    return STAGE_TITLES.get(stage, stage.capitalize())


def progress_panel(story: Story, *, position: int = 0, wait: float | None = None) -> Safe:
    """The state of a run as one region that a screen reader announces. `position` is its place in the
    queue, 0 when it is at work; `wait` how many seconds it will stay there, where that is known."""
    fraction = story.fraction
    headline, aside = _headline(story, position, wait)
    bar = tag(
        "div",
        tag("div", class_="le-bar-fill", style=f"width:{fraction * 100:.1f}%"),
        class_="le-bar",
        role="progressbar",
        aria_label="Progress of the run",
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=f"{fraction * 100:.0f}",
    )
    top = tag(
        "div",
        tag("strong", headline, aria_live="polite"),
        tag("span", aside, class_="le-muted"),
        class_="le-progress-top",
    )
    return tag("div", top, bar, _chips(story), _numbers(story), class_="le-card le-progress")


def notices(warnings: list[str]) -> Safe:
    """Warnings of a run, each said once."""
    if not warnings:
        return Safe("")
    rows = [tag("p", words) for words in dict.fromkeys(warnings)]
    return tag("div", *rows, class_="le-notices", role="status")


def facts_table(story: Story) -> Safe:
    """The watched facts: what is asked, the answer, and how probable it is before and now."""
    if not story.probes:
        return Safe("")
    before = {(f.split, f.id): f.probability for f in story.probes[0].facts}
    head = tag("tr", *(tag("th", words, scope="col") for words in ("Fact", "Before", "Now")))
    rows = [_fact_row(fact, before.get((fact.split, fact.id))) for fact in story.probes[-1].facts]
    caption = tag("caption", f"Probability of each watched answer after step {story.probes[-1].step}")
    return tag("table", caption, tag("thead", head), tag("tbody", *rows), class_="le-facts")


def _fact_row(fact: Fact, before: float | None) -> Safe:
    kind = "forget" if fact.split == "forget" else "retain"
    words = tag(
        "td",
        tag("span", "forget" if kind == "forget" else "keep", class_=f"le-tag le-{kind}"),
        tag("span", shorten(fact.prompt, 110), class_="le-prompt"),
        tag("span", shorten(fact.answer, 80), class_="le-answer"),
    )
    meter = tag(
        "span", class_=f"le-meter le-{kind}", style=f"--value:{fact.probability:.3f}", aria_hidden="true"
    )
    now = tag("td", meter, percent(fact.probability), class_="le-number")
    return tag("tr", words, tag("td", percent(before), class_="le-number"), now)


def _headline(story: Story, position: int, wait: float | None) -> tuple[str, str]:
    if isinstance(story.end, Finished):
        return "Done", f"in {duration(story.seconds)}"
    if isinstance(story.end, Cancelled):
        return "Stopped", f"after {count(story.end.step, 'step')}"
    if isinstance(story.end, Failed):
        return "Interrupted" if story.end.kind == "interrupted" else "Stopped by an error", ""
    if position > 0:
        begins = f"; it begins in about {duration(wait)}" if wait is not None else ""
        return "Waiting", f"{count(position, 'run')} ahead of this one{begins}"
    if story.progress is None:
        return "Starting", ""
    left = f"about {duration(story.seconds_left)} left" if story.seconds_left is not None else ""
    return stage_title(story.stage), left


def _chips(story: Story) -> Safe | None:
    if not story.stages:
        return None
    at = story.stages.index(story.stage) if story.stage in story.stages else -1
    done = len(story.stages) if isinstance(story.end, Finished) else at
    chips = []
    for i, stage in enumerate(story.stages):
        state = "done" if i < done else "now" if i == at and story.end is None else "later"
        current = "step" if state == "now" else None
        chips.append(tag("li", stage_title(stage), class_=f"le-chip le-{state}", aria_current=current))
    return tag("ol", *chips, class_="le-chips")


def _numbers(story: Story) -> Safe | None:
    parts: list[str] = []
    if story.progress and story.end is None:
        if story.progress.total > 1 and story.stage != "unlearn":
            parts.append(f"{story.progress.done:,} of {story.progress.total:,} {story.progress.message}")
        elif story.progress.message:
            parts.append(story.progress.message)
    if story.steps:
        last = story.steps[-1]
        parts.append(f"step {last.step} of {last.num_steps}")
        parts.append(f"{last.tokens_per_second:,.0f} tokens/s")
    if story.started:
        parts.append(story.started.device)
    if not parts:
        return None
    return tag("p", join(*(tag("span", part) for part in parts)), class_="le-numbers")
