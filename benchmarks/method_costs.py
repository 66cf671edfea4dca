"""What a step of every method takes, in steps of plain fine-tuning on the same forget sequences.

    python benchmarks/method_costs.py [--target demo] [--data demo] [--methods npo,lethe] [--batch 8]

Counts floating-point operations on the target itself and prints one row a method: what it declares, what was
counted, and the ratio.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch.utils.flop_counter import FlopCounterMode

from unlearn_core import methods
from unlearn_core.data.sources import load_data
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import BatchComposition, Context, Edit, EditedUnit, Losses, Method, RowPart, StepBatch
from unlearn_core.methods.capabilities import Phase, RunsInPhases, phases_of
from unlearn_core.methods.inference_time.auxiliary_training import AuxiliaryTraining, Rows
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.models.targets import load_target
from unlearn_core.training.loop import unlearn

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

PLAIN = "grad_ascent"  # the same operations as fine-tuning; only the sign differs


class CostMeter:
    """Counts what steps take on small fresh copies of one model."""

    def __init__(
        self,
        fresh: Callable[[], PreTrainedModel],
        tokenizer: PreTrainedTokenizerBase,
        data: UnlearningData,
        batch_size: int = 4,
        steps: int = 2,
        settings: Mapping[str, dict[str, Any]] | None = None,
    ) -> None:
        """settings: by method, what of its defaults does not fit the size of the model."""
        self._fresh, self._tokenizer, self._data = fresh, tokenizer, data
        self._batch_size, self._steps = batch_size, steps
        self._settings = settings or {}

    def relative(self, name: str) -> float:
        """FLOPs of a step of the method over those of fine-tuning on the step's forget batch, all sequences
        taken as equally long.

        They are not: a document is longer than an answer, a refusal shorter. So the step is compared with
        fine-tuning on its own sequences, whichever those are, and the quotient counted once for each
        sequence there is to one of the forget batch. What is done once, before the first step, is left out. A
        method that trains an adapter is compared with fine-tuning one. An edit reads the whole forget set
        each round, which then is the batch, and as many retain rows if it reads those, here the same ones.
        """
        cls = methods.get(name)
        adapter = None if cls.traits.adapter == "none" else cls.traits.adapter
        if issubclass(cls, Edit) and not issubclass(cls, AuxiliaryTraining):
            rows = self._data.forget
            data = replace(self._data, retain=(*rows[1:], rows[0]), general=())
            plain = methods.build(PLAIN, {"batch_size": len(rows)}, self._steps)
            method = methods.build(name, self._settings.get(name))
            return self._per_step(method, adapter, data) / self._per_step(plain, adapter, data)
        method = methods.build(name, self._small(cls) | self._settings.get(name, {}), self._steps)
        same = tuning(method)
        whole = self._per_step(method, adapter, self._data) / self._per_step(same, adapter, self._data)
        return whole * sum(same.taken) / (len(same.taken) * self._batch_size)

    def _small(self, cls: type[Method]) -> dict[str, Any]:
        """The default numbers of sequences in a step, all by the same factor smaller."""
        sizes = [item for item in cls.parameters() if item.name.endswith("_size")]
        scale = self._batch_size / next(item.default for item in sizes if item.name == "batch_size")
        return {item.name: max(1, round(item.default * scale)) for item in sizes}

    def _per_step(self, method: Method, adapter: str | None, data: UnlearningData) -> float:
        model = self._fresh()
        warm = methods.build(PLAIN, {"batch_size": 1}, 1)
        for _ in unlearn(model, self._tokenizer, data, warm, probe_ids=()):
            pass  # what is tried on a model once is no part of a step
        run = unlearn(model, self._tokenizer, data, method, adapter=adapter, probe_ids=())
        next(run)
        with FlopCounterMode(display=False) as counter:
            for _ in run:
                pass
        return float(counter.get_total_flops()) / method.steps


def tuning(method: Method) -> _Tuning | _TuningAuxiliary:
    """Fine-tuning on the very sequences that the steps of `method` take; `taken` counts them."""
    cls = _TuningAuxiliary if isinstance(method, AuxiliaryTraining) else _Tuning
    schedule = {f.name: getattr(method, f.name) for f in fields(Method)}
    return cls(**schedule, of=method)


@dataclass(frozen=True)
class _Tuning(RunsInPhases, Method):
    info: ClassVar = methods.get(PLAIN).info

    of: Method = field(kw_only=True)
    taken: list[int] = field(default_factory=list)

    def mix(self) -> BatchComposition:
        return self.of.mix()

    def prepare(self, context: Context) -> None:
        self.of.prepare(context)

    def phases(self, parts: Mapping[str, RowPart], seed: int) -> tuple[Phase, ...]:
        return tuple(
            replace(phase, method=replace(self, steps=phase.method.steps, of=phase.method))
            for phase in phases_of(self.of, parts, seed)
        )

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        self.taken.append(sum(len(rows) for rows in context.rows.values()))
        losses = [mean_nll(getattr(batch, name)) for name, rows in context.rows.items() if rows]
        return Losses(torch.stack(losses).sum())


@dataclass(frozen=True)
class _TuningAuxiliary(AuxiliaryTraining):
    info: ClassVar = methods.get(PLAIN).info

    of: Method = field(kw_only=True)
    taken: list[int] = field(default_factory=list)

    def mix(self) -> BatchComposition:
        return self.of.mix()

    def units(self, context: Context) -> Iterator[EditedUnit]:
        def losses(rows: Rows) -> Losses:
            every = [row for part in rows.values() for row in part]
            self.taken.append(len(every))
            return Losses(mean_nll(context.current.predictions(every)))

        weights = list(context.model.requires_grad_(True).parameters())
        yield from self.fit(context, weights, losses, self.steps)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="demo")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--methods", default="all")
    parser.add_argument("--batch", type=int, default=8, help="forget sequences in a step")
    arguments = parser.parse_args()

    target, data = load_target(arguments.target), load_data(arguments.data)
    meter = CostMeter(lambda: copy.deepcopy(target.model), target.tokenizer, data, arguments.batch)
    names = list(methods.REGISTRY) if arguments.methods == "all" else arguments.methods.split(",")
    print(f"{'':18}{'declared':>9}{'counted':>9}{'ratio':>7}")
    for name in names:
        declared, counted = methods.get(name).info.cost, meter.relative(name)
        ratio = f"{counted / declared:.2f}" if counted else "-"
        print(f"{name:18}{declared:>9g}{counted:>9.2f}{ratio:>7}", flush=True)


if __name__ == "__main__":
    main()
