"""Running the loop to its end, and comparing models."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import torch

from unlearn_core.evaluation.progress import ResultIterator
from unlearn_core.models.artifacts import Artifact
from unlearn_core.training.records import FactProbe, Record


def drain(run: Generator[Record, None, Artifact]) -> tuple[list[Any], Artifact]:
    """Every record of a run, and its artifact."""
    work = ResultIterator(run)
    return list(work), work.result


def snapshot(model: Any) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def distance(one: Any, other: Any) -> float:
    """Norm of the difference of all weights. Adam turns rounding of tiny gradients into whole steps, so
    it is compared with how far training went and not entry by entry."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return sum((a - b).square().sum().item() for a, b in pairs) ** 0.5


def chance(probe: FactProbe, split: str) -> float:
    found = [fact.probability for fact in probe.facts if fact.split == split]
    return sum(found) / len(found)
