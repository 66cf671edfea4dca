"""Where a run is: the stages, the bar, and the figures of its last step."""

from __future__ import annotations

from unlearn_core.report.curves import decimate
from unlearn_core.report.format import count, duration
from unlearn_core.report.markup import Safe, join, tag
from unlearn_core.report.story import Story
from unlearn_core.report.svg import spark
from unlearn_core.runs.events import Cancelled, Failed, Finished

_SPARK_POINTS = 40

STAGE_TITLES = {
    "load": "Loading",
    "score original": "Scoring the original",
    "score retain-only": "Scoring the retain-only model",
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
    """The figures of the last step, each with its course so far where that tells something."""
    parts: list[Safe] = []
    if story.progress and story.end is None:
        if story.progress.total > 1 and story.stage != "unlearn":
            told = f"{story.progress.done:,} of {story.progress.total:,} {story.progress.message}"
            parts.append(tag("span", told))
        elif story.progress.message:
            parts.append(tag("span", story.progress.message))
    if story.steps:
        steps = decimate(story.steps, _SPARK_POINTS)
        last = story.steps[-1]
        parts.append(tag("span", f"step {last.step} of {last.num_steps}"))
        rates = spark([step.tokens_per_second for step in steps])
        parts.append(tag("span", f"{last.tokens_per_second:,.0f} tokens/s", rates))
        norms = spark([step.gradient_norm for step in steps])
        parts.append(tag("span", f"gradient norm {last.gradient_norm:.3g}", norms))
        if last.memory:
            parts.append(tag("span", f"memory {last.memory / 1e9:.2f} GB"))
    if story.started:
        parts.append(tag("span", story.started.device))
    return tag("p", join(*parts), class_="le-numbers") if parts else None
