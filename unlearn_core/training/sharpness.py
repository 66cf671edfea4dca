"""Sharpness-aware steps: the weights perturbed to raise a step's own loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch


@contextmanager
def perturbed(parameters: Sequence[torch.nn.Parameter], radius: float) -> Iterator[None]:
    """The parameters at w + radius g / |g|, g their gradients, which are cleared; on leaving, bit for bit at w.

    Foret et al. 2020, arXiv 2010.01412. Takes the memory of the weights once more.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    old = [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.add_(parameter.grad * (radius / (norm + 1e-12)))
                parameter.grad = None
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, old, strict=True):
                parameter.copy_(value)
