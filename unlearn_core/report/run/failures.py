"""A run that did not reach its verdict: what happened, what is safe, and what to do next."""

from __future__ import annotations

from unlearn_core.report.kit.markup import Safe, join, tag
from unlearn_core.runs.events import Failed

_UNHARMED = "the model and all finished runs are as they were; nothing half-written was kept."
# By kind of failure: title, what is safe, what to do next.
_TOLD = {
    "interrupted": (
        "This run was interrupted",
        "all finished runs, and what this run had trained up to its last checkpoint.",
        "press Resume this run below, if you started it: it ends with the scores it would have had.",
    ),
    "disk_full": (
        "There was no room on the disk",
        "all finished runs, and what this run had trained up to its last checkpoint.",
        "delete runs you no longer need on the Runs tab, or tell whoever runs this server; then resume this run.",
    ),
    "out_of_memory": (
        "The memory was not enough",
        _UNHARMED,
        "lower Batch size under Method settings, or choose the adapter lora; then start again.",
    ),
    "diverged": (
        "The training broke down",
        "the model is as it was; the curves show the step at which the numbers left all bounds.",
        "lower Learning rate under Method settings, or take fewer steps; then start again.",
    ),
}
_OTHER = ("This run could not finish", _UNHARMED, "")


def title_of(end: Failed) -> str:
    return _TOLD.get(end.kind, _OTHER)[0]


def after(end: Failed) -> tuple[Safe, ...]:
    """What is safe, and what to do next where the message does not say it."""
    _, safe, then = _TOLD.get(end.kind, _OTHER)
    lines = (("Safe", safe), ("Next", then))
    return tuple(join(tag("strong", f"{name}: "), words) for name, words in lines if words)
