"""A run's curves in the trackers people have: TensorBoard, Trackio, Weights & Biases.

    for event in tracked(run(spec), "tensorboard", spec, folder): ...

The events go through unchanged. A tracker is an optional extra (`pip install lethe-unlearning[trackers]`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from unlearn_core.errors import InputError
from unlearn_core.evaluation.protocols.semeval import listed_record
from unlearn_core.runs.events import Event, FactProbe, Finished, Score, Step
from unlearn_core.runs.spec import RunSpec
from unlearn_core.runs.state import RunState

TRACKERS = ("tensorboard", "trackio", "wandb")
_PROJECT = "lethe"


class Tracker(Protocol):
    """Takes named numbers at optimiser steps."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Numbers after `step` optimiser steps."""

    def close(self) -> None:
        """Nothing more will come."""


def tracked(events: Iterator[Event], name: str, spec: RunSpec, folder: Path) -> Generator[Event]:
    """The same events, their numbers sent to the tracker called `name`; `folder` is where it may write."""
    tracker = open_tracker(name, spec, folder)
    state = RunState()
    try:
        for event in events:
            state.add(event)
            values = numbers(event)
            if values:
                tracker.log(values, state.step)
            yield event
    finally:
        tracker.close()


def numbers(event: Event) -> dict[str, float]:
    """What an event has to show as curves: losses and rate of a step, watched facts, scores of a model."""
    match event:
        case Step():
            found = {f"loss/{name}": value for name, value in event.losses.items()}
            found |= {"learning_rate": event.learning_rate, "gradient_norm": event.gradient_norm}
            return found | {"tokens_per_second": event.tokens_per_second}
        case FactProbe():
            chances: dict[str, list[float]] = {}
            for fact in event.facts:
                chances.setdefault(fact.split, []).append(fact.probability or 0.0)
            return {f"probability/{split}": sum(values) / len(values) for split, values in chances.items()}
        case Score():
            terms = listed_record(event.scores).terms
            return {f"{event.model}/{term.name}": float(term.value) for term in terms if term.value is not None}
        case Finished():
            return {f"seconds/{stage}": value for stage, value in event.seconds.items()}
    return {}


def open_tracker(name: str, spec: RunSpec, folder: Path) -> Tracker:
    """The tracker called `name`, its run begun; InputError where it is not known or not installed."""
    openers: dict[str, Any] = {"tensorboard": _tensorboard, "trackio": _trackio, "wandb": _wandb}
    if name not in openers:
        raise InputError("--track", name, "is not a tracker", f"Use one of {', '.join(TRACKERS)}.")
    try:
        found: Tracker = openers[name](spec, folder)
    except ImportError:
        mend = f"Install it with `pip install {name}`, or all with the extra `trackers`."
        raise InputError("--track", name, "is not installed", mend) from None
    return found


def _tensorboard(spec: RunSpec, folder: Path) -> Tracker:
    from torch.utils.tensorboard import SummaryWriter

    writer: Any = SummaryWriter(str(folder))

    class TensorBoard:
        def log(self, values: Mapping[str, float], step: int) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        def close(self) -> None:
            writer.close()

    return TensorBoard()


def _trackio(spec: RunSpec, folder: Path) -> Tracker:
    import trackio

    return _Module(trackio, spec)


def _wandb(spec: RunSpec, folder: Path) -> Tracker:
    import wandb

    return _Module(wandb, spec)


class _Module:
    """Trackio and Weights & Biases share one interface."""

    def __init__(self, module: Any, spec: RunSpec) -> None:
        self._module = module
        module.init(project=_PROJECT, name=spec.name or None, config=spec.to_json())

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._module.log(dict(values), step=step)

    def close(self) -> None:
        self._module.finish()
