"""What a method's step really takes: floating-point operations, counted, against plain fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch.utils.flop_counter import FlopCounterMode

from unlearn_core import methods
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.aside import Aside
from unlearn_core.methods.base import Edit
from unlearn_core.training.loop import unlearn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.methods.base import Method

PLAIN = "grad_ascent"  # the same operations as fine-tuning; only the sign differs


class CostMeter:
    """Counts what steps take on small fresh copies of one model."""

    def __init__(
        self, fresh: Callable[[], PreTrainedModel], tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData, batch_size: int = 4, steps: int = 2,
        settings: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        """settings: by method, what of its defaults does not fit the size of the model."""
        self._fresh, self._tokenizer, self._data = fresh, tokenizer, data
        self._batch_size, self._steps = batch_size, steps
        self._settings = settings or {}
        self._plain: dict[tuple[int, str | None], float] = {}

    def relative(self, name: str) -> float:
        """FLOPs of a step of the method over those of fine-tuning on the step's forget sequences.

        What is done once, before the first step, is left out. A method that trains an adapter is compared
        with fine-tuning one. An edit reads the whole forget set each round, which then is the batch, and
        as many retain rows if it reads those.
        """
        cls = methods.get(name)
        adapter = None if cls.adapter == "none" else cls.adapter
        if issubclass(cls, Edit) and not issubclass(cls, Aside):
            size = len(self._data.forget)
            method, data = methods.build(name, self._settings.get(name)), self._even
        else:
            settings = self._small(cls) | self._settings.get(name, {})
            size = self._batch_size
            method, data = methods.build(name, settings, self._steps), self._data
        return self._per_step(method, adapter, data) / self._fine_tuning(size, adapter)

    @property
    def _even(self) -> UnlearningData:
        return replace(self._data, retain=self._data.retain[: len(self._data.forget)], general=())

    def _small(self, cls: type[Method]) -> dict[str, Any]:
        """The default numbers of sequences in a step, all by the same factor smaller."""
        sizes = [item for item in cls.parameters() if item.name.endswith("_size")]
        scale = self._batch_size / next(item.default for item in sizes if item.name == "batch_size")
        return {item.name: max(1, round(item.default * scale)) for item in sizes}

    def _fine_tuning(self, size: int, adapter: str | None) -> float:
        if (size, adapter) not in self._plain:
            method = methods.build(PLAIN, {"batch_size": size}, self._steps)
            self._plain[size, adapter] = self._per_step(method, adapter, self._data)
        return self._plain[size, adapter]

    def _per_step(self, method: Method, adapter: str | None, data: UnlearningData) -> float:
        run = unlearn(self._fresh(), self._tokenizer, data, method, adapter=adapter, probe_ids=())
        next(run)
        with FlopCounterMode(display=False) as counter:
            for _ in run:
                pass
        return float(counter.get_total_flops()) / method.steps
