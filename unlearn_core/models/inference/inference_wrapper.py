"""What stands between people and a model whose weights stay as they are.

    prompt --ask--> model --> text --screen--> answer          refusal: the model is never asked

A front rides on the model it stands before, so that generation, likelihoods, questions and the page all
go through it without knowing which one it is. `beneath` switches it off: that is where audits look.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    import torch
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

_PLACE = "_lethe_front"


class InferenceWrapper:
    """The front of a model that has none; what it does not override it leaves as it is."""

    kind: ClassVar[str] = "none"
    combines: ClassVar[bool] = False  # changes what the model computes, and so every likelihood
    screens: ClassVar[bool] = False  # must read a whole answer before any of it is shown
    graded: ClassVar[bool] = False  # can be half on

    def ask(self, prompt: str) -> str:
        """The prompt that the model gets in place of `prompt`."""
        return prompt

    def refusal(self, prompt: str) -> str | None:
        """What is answered without asking the model; None where it is asked."""
        return None

    def screen(self, text: str) -> str:
        """The answer that is shown in place of `text`."""
        return text

    def attach(self, model: PreTrainedModel, strength: float) -> None:
        """Take the place before `model`."""
        setattr(model, _PLACE, self)

    def detach(self, model: PreTrainedModel) -> None:
        """Leave it; the model is what it was, bit for bit."""
        if getattr(model, _PLACE, None) is self:
            delattr(model, _PLACE)

    def settings(self) -> dict[str, Any]:
        """What `load` needs to build it again, JSON-ready."""
        return {}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The numbers beside the settings, for fronts that learnt any."""
        return {}

    @classmethod
    def load(
        cls, model: PreTrainedModel, settings: dict[str, Any], tensors: dict[str, torch.Tensor]
    ) -> InferenceWrapper:
        """The front that `settings` and `tensors` describe, for `model`."""
        return cls(**settings)


class HookedWrapper(InferenceWrapper):
    """A front that acts inside the model by hooks, as far as `strength` says."""

    graded: ClassVar[bool] = True

    def __init__(self) -> None:
        self.strength = 1.0
        self._handles: list[RemovableHandle] = []

    def hooks(self, model: PreTrainedModel) -> Iterator[RemovableHandle]:
        """Put the hooks on `model`, which stay until the front is detached."""
        raise NotImplementedError

    def attach(self, model: PreTrainedModel, strength: float) -> None:
        super().attach(model, strength)
        self.strength = strength
        self._handles = list(self.hooks(model))

    def detach(self, model: PreTrainedModel) -> None:
        super().detach(model)
        for handle in self._handles:
            handle.remove()
        self._handles = []


NO_FRONT = InferenceWrapper()


def front_of(model: PreTrainedModel) -> InferenceWrapper:
    """What stands before `model`; a front that does nothing where nothing does."""
    front: InferenceWrapper = getattr(model, _PLACE, NO_FRONT)
    return front


@contextmanager
def beneath(model: PreTrainedModel) -> Iterator[None]:
    """The model itself, with whatever stands before it switched off meanwhile."""
    front = front_of(model)
    strength = getattr(front, "strength", 1.0)
    front.detach(model)
    try:
        yield
    finally:
        if front is not NO_FRONT:
            front.attach(model, strength)
