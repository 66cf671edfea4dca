"""Where a run is: the stages, the bar, and the figures of its last step."""

from __future__ import annotations

from unlearn_core.report.kit.bars import chips, progress_card
from unlearn_core.report.kit.format import count
from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.report.kit.svg import spark
from unlearn_core.report.run.live.curves import decimate
from unlearn_core.runs.events import Cancelled
from unlearn_core.runs.state import RunState
from unlearn_core.system.units import duration

_SPARK_POINTS = 40

STAGE_TITLES = {
    "load": "Loading",
    "score original": "Scoring the original",
    "score retain-only": "Scoring the retain-only model",
    "unlearn": "Unlearning",
    "save": "Saving",
    "score unlearned": "Scoring the result",
}
# Of a run on the bundled model, roughly, by the first word of the stage.
_USUAL_WEIGHT = {"load": 1.0, "score": 2.0, "unlearn": 8.0, "save": 0.5}


def stage_title(stage: str) -> str:
    return STAGE_TITLES.get(stage, stage.capitalize())


def fraction(story: RunState) -> float:
    """How much of the run is done, 0..1, by the usual share of each stage."""
    if story.finished is not None:
        return 1.0
    if story.progress is None or story.stage not in story.stages:
        return 0.0
    weights = [_USUAL_WEIGHT.get(stage.split()[0], 1.0) for stage in story.stages]
    at = story.stages.index(story.stage)
    within = story.progress.done / story.progress.total if story.progress.total else 0.0
    return (sum(weights[:at]) + weights[at] * min(max(within, 0.0), 1.0)) / sum(weights)


def progress_panel(story: RunState, *, position: int = 0, wait: float | None = None) -> Safe:
    """The state of a run as one region that a screen reader announces. `position` is its place in the
    queue, 0 when it is at work; `wait` how many seconds it will stay there, where that is known."""
    headline, aside = _headline(story, position, wait)
    return progress_card(headline, aside, fraction(story), "Progress of the run")


def telemetry(story: RunState) -> Safe:
    """The stages of the run and the figures of its last step."""
    return join(_chips(story), _numbers(story))


def notices(warnings: list[str]) -> Safe:
    """Warnings of a run, each said once."""
    if not warnings:
        return Safe("")
    rows = [tag("p", words) for words in dict.fromkeys(warnings)]
    return tag("div", *rows, class_="le-notices", role="status")


def _headline(story: RunState, position: int, wait: float | None) -> tuple[str, str]:
    if story.finished is not None:
        return "Done", f"in {duration(story.seconds)}"
    if isinstance(story.end, Cancelled):
        return "Stopped", f"after {count(story.end.step, 'step')}"
    if story.failure is not None:
        return "Interrupted" if story.status == "interrupted" else "Stopped by an error", _step(story)
    if position > 0:
        begins = f"; it begins in about {duration(wait)}" if wait is not None else ""
        return "Waiting", f"{count(position, 'run')} ahead of this one{begins}"
    if story.progress is None:
        return ("Unlearning", _step(story)) if story.steps else ("Starting", "")
    left = f"about {duration(story.seconds_left)} left" if story.seconds_left is not None else ""
    return f"{stage_title(story.stage)}{_place(story)}", left


def _step(story: RunState) -> str:
    """`step 5 of 50`; "" before the first."""
    return f"step {story.steps[-1].step} of {story.steps[-1].num_steps}" if story.steps else ""


def _place(story: RunState) -> str:
    """How far the stage at work has come."""
    if story.stage == "unlearn" and story.steps:
        return f", {_step(story)}"
    at = story.progress
    if at is None:
        return ""
    words = f"{at.done:,} of {at.total:,} {at.message}" if at.total > 1 else at.message
    return f", {words.strip()}" if words else ""


def _chips(story: RunState) -> Safe | None:
    if not story.stages:
        return None
    at = story.stages.index(story.stage) if story.stage in story.stages else -1
    done = len(story.stages) if story.finished is not None else at
    now = at if story.end is None else None
    states = ("done" if i < done else "now" if i == now else "later" for i in range(len(story.stages)))
    return chips(zip(map(stage_title, story.stages), states, strict=True))


def _numbers(story: RunState) -> Safe | None:
    """The figures of the last step, each with its course so far where that tells something."""
    parts: list[Safe] = []
    if story.steps:
        steps = decimate(story.steps, _SPARK_POINTS)
        last = story.steps[-1]
        rates = spark([step.tokens_per_second for step in steps])
        parts.append(tag("span", f"{last.tokens_per_second:,.0f} tokens/s", rates))
        norms = spark([step.gradient_norm for step in steps])
        parts.append(tag("span", f"gradient norm {last.gradient_norm:.3g}", norms))
        if last.memory:
            parts.append(tag("span", f"memory {last.memory / 1e9:.2f} GB"))
    if story.started:
        parts.append(tag("span", story.started.device))
    return tag("p", join(*parts), class_="le-numbers") if parts else None
