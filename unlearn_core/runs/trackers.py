"""A run's curves in the trackers people have: TensorBoard, Trackio, Weights & Biases.

    for event in tracked(run(spec), "tensorboard", spec, folder): ...

The events go through unchanged. A tracker is an optional extra (`pip install lethe-unlearning[trackers]`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.semeval import listed_record
from unlearn_core.runs.events import Event, FactProbe, Finished, Score, Step
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState
from unlearn_core.system.grouped import grouped

TRACKERS = ("tensorboard", "trackio", "wandb")
_PROJECT = "lethe"


Log = Callable[[Mapping[str, float], int], None]  # takes named numbers after so many optimiser steps
Tracker = tuple[Log, Callable[[], None]]  # and what ends it


def tracked(events: Iterator[Event], name: str, spec: RunSpec, folder: Path) -> Generator[Event]:
    """The same events, their numbers sent to the tracker called `name`; `folder` is where it may write."""
    log, close = open_tracker(name, spec, folder)
    state = RunState()
    try:
        for event in events:
            state.add(event)
            values = numbers(event)
            if values:
                log(values, state.step)
            yield event
    finally:
        close()


def numbers(event: Event) -> dict[str, float]:
    """What an event has to show as curves: losses and rate of a step, watched facts, scores of a model."""
    match event:
        case Step():
            found = {f"loss/{name}": value for name, value in event.losses.items()}
            found |= {"learning_rate": event.learning_rate, "gradient_norm": event.gradient_norm}
            return found | {"tokens_per_second": event.tokens_per_second}
        case FactProbe():
            chances = grouped((fact.split, fact.probability or 0.0) for fact in event.facts)
            return {f"probability/{split}": sum(values) / len(values) for split, values in chances.items()}
        case Score():
            terms = listed_record(event.scores).terms
            return {f"{event.model}/{term.name}": float(term.value) for term in terms if term.value is not None}
        case Finished():
            return {f"seconds/{stage}": value for stage, value in event.seconds.items()}
    return {}


def open_tracker(name: str, spec: RunSpec, folder: Path) -> Tracker:
    """The tracker called `name`, its run begun; InputError where it is not known or not installed."""
    if name not in TRACKERS:
        raise InputError("--track", name, "is not a tracker", f"Use one of {', '.join(TRACKERS)}.")
    try:
        if name == "tensorboard":
            return _tensorboard(folder)
        if name == "trackio":
            import trackio as module
        else:
            import wandb as module
        return _module(module, spec)
    except ImportError:
        mend = f"Install it with `pip install {name}`, or all with the extra `trackers`."
        raise InputError("--track", name, "is not installed", mend) from None


def _tensorboard(folder: Path) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder))

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, writer.close


def _module(module: Any, spec: RunSpec) -> Tracker:
    """Trackio and Weights & Biases share one interface."""
    module.init(project=_PROJECT, name=spec.name or None, config=spec.to_json())
    return lambda values, step: module.log(dict(values), step=step), module.finish
