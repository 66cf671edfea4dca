"""The training loop: batches -> method -> optimiser -> records.

`unlearn` is a generator: it yields steps, probes and notes, and returns the artifact. Closing it (a
cancel) or an error puts the model back exactly as it was. Which sequences a step sees depends only on the
seed and the step's number; the model stays in evaluation mode, so dropout plays no part.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn

import torch

from unlearn_core.data.encode import Encoded, pad_id_of
from unlearn_core.data.types import UnlearningData
from unlearn_core.errors import InputError, ResourceError
from unlearn_core.methods.base import BatchComposition, Context, Edit, Losses, Method, RowPart
from unlearn_core.methods.capabilities import (
    CombinesGradients,
    ScalesLearningRate,
    SeesGradients,
    any_step_can_end,
    attack_of,
    hidden_layer_of,
    looks_inside,
    perturbation_radius_of,
    trains,
)
from unlearn_core.models.adapters import choose_adapter
from unlearn_core.models.artifacts import Adapter, Edits
from unlearn_core.models.inference.forward import canonical_name, has_layers, layer_of, num_layers
from unlearn_core.models.inference.frozen_bottom import frozen_below
from unlearn_core.models.inference.packed import float32_attention, why_padded
from unlearn_core.models.inference.positions import max_positions
from unlearn_core.models.split import whole
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import empty_cache
from unlearn_core.system.machine.memory import is_out_of_memory, return_heap
from unlearn_core.training.data import MAX_TOKENS, BatchSampler, Plan, build_parts, cut_rows, feeds, visited
from unlearn_core.training.distributed.sharded import ShardedTrainable
from unlearn_core.training.latent import find_shift
from unlearn_core.training.layout import pack_parts
from unlearn_core.training.packing import accumulation_batches, gradients, state_layers, sum_of_losses
from unlearn_core.training.passes import ModelPasses
from unlearn_core.training.records import FactProbe, LoopStep, Record, StepDiverged, Warned
from unlearn_core.training.reference import FrozenReference
from unlearn_core.training.resources.activation_memory import StepSplit, has_small_moments, make_optimiser, recomputed
from unlearn_core.training.sharpness import perturbed
from unlearn_core.training.snapshot import Snapshot
from unlearn_core.training.trainable import Trainable
from unlearn_core.training.watching.best_weights import WeightKeeper
from unlearn_core.training.watching.fact_probe import FactWatcher
from unlearn_core.training.watching.subject_probe import SubjectWatcher
from unlearn_core.training.watching.watch import Watch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.models.artifacts import Artifact

# Steps: the activations of short ones leave holes that only grow, and to fault memory in again takes its time.
HEAP_RETURNED_EVERY = 4


def unlearn(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: UnlearningData,
    method: Method,
    *,
    seed: int = 0,
    adapter: str | None = None,
    rank: int = 16,
    probe_ids: tuple[str, ...] | None = None,
    max_tokens: int = MAX_TOKENS,
    micro_batch: int | None = None,
    stop: Callable[[], bool] | None = None,
    best: Callable[[], bool] | None = None,
    snapshot: Snapshot | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Generator[Record, None, Artifact]:
    """Apply `method` to `model` in place and yield what happens; the artifact is the return value.

    adapter: "full", "lora" or None for what the method trains, else by size. probe_ids: rows to watch, None
    for a selection.
    micro_batch: most sequences in the model at a time; None for all, halved when memory runs out.
    stop: asked after every step; True ends the training there and keeps what it came to.
    best: asked at the end; True goes back to the best weights that were watched (see `watching`).
    snapshot: can be saved between any two records; a loaded one goes on where it was saved.
    clock: seconds, by which the time for watching is rationed.
    On return the model is the unlearned one. Raises InputError before anything is touched, StepDiverged
    (with the last good weights) on a loss that is not finite, ResourceError when one sequence does not fit.
    """
    mix = method.mix()
    max_tokens = min(max_tokens, max_positions(model) or max_tokens)
    parts = build_parts(tokenizer, data, mix, max_tokens, seed)
    _check(model, data, method, parts)
    depth = num_layers(model)
    plan = feeds(method, parts, data, seed)
    assert sum(part.steps for part, _ in plan) == method.steps
    pad_id = pad_id_of(tokenizer)
    probe = FactWatcher(tokenizer, data, probe_ids, max_tokens)
    kind = ShardedTrainable if distributed.size() > 1 else Trainable

    def chosen(name: str) -> bool:
        return trains(method, canonical_name(model, name), depth)

    trainable = kind(model, adapter, rank, seed, method.traits.adapter, chosen)
    model = trainable.model
    edits = Edits(model)
    context: Context | None = None
    artifact: Artifact | None = None
    finished = False
    try:
        if not trainable.parameters and not isinstance(method, Edit):
            _refuse(method, f"finds nothing to train in {type(model).__name__}")
        reference = FrozenReference(
            model,
            parts,
            pad_id,
            lambda name: visited(plan, name),
            trainable.adapter_off,
            layer=hidden_layer_of(method, depth),
        )
        context = Context(
            model,
            method.steps,
            seed,
            parts,
            reference,
            ModelPasses(model, tokenizer, trainable.named, state_layers(method, model)),
            trainable.named,
            tokenizer=tokenizer,
            data=data,
            edits=edits,
            trained=edits.artifact if isinstance(method, Edit) else trainable.artifact,
        )
        context.closing.enter_context(float32_attention(model))
        context.closing.enter_context(frozen_below(model, _first_trained(method, model, trainable.named)))
        method.prepare(context)
        reference.frozen = True
        yield from _notes(method, mix, parts, trainable)
        yield from cut_rows(parts, max_tokens)
        snapshot = snapshot or Snapshot()
        subjects = SubjectWatcher(tokenizer, data, max_tokens)
        watch = Watch(probe, subjects, context.num_steps, round(method.traits.recovers_by * context.num_steps), clock)
        weights = WeightKeeper(trainable.named, watch.state)
        room = isinstance(method, Edit) or distributed.broadcast(weights.fits)
        if room and probe.num_facts and any_step_can_end(method):
            watch.keeper = edits if isinstance(method, Edit) else weights
        if isinstance(method, Edit):
            last = yield from _units(method, context, watch, stop)
        else:
            last = yield from _steps(plan, context, trainable, watch, pad_id, micro_batch, stop, snapshot)
        if distributed.broadcast(best is not None and best()):
            yield from watch.keep_best(model, last)
        watch.keeper = None
        weights.drop()
        context.closing.close()
        artifact = method.finalise(context)
        if isinstance(artifact, Adapter):
            artifact.settle()
        yield from watch.look(model, last)
        finished = True
        return artifact
    finally:
        if context is not None:
            context.closing.close()
        if not finished and artifact is not None:
            artifact.revert()
        if not finished:
            edits.undo()
        trainable.close(restore=not finished)


def _first_trained(method: Method, model: PreTrainedModel, names: Iterable[str]) -> int:
    """The lowest layer among the weights called so, where all below can be left out of a pass; otherwise 0."""
    of = {layer_of(canonical_name(model, name)) for name in names}
    # What reads or moves the states of a layer counts the layers of the whole model.
    if distributed.size() > 1 or looks_inside(method, num_layers(model)) or None in of or not of:
        return 0
    return min(layer for layer in of if layer is not None)


def lowest_to_train(method: Method, model: PreTrainedModel, adapter: str | None) -> int:
    """The layer below which `unlearn` will change nothing, said before it; 0 where that cannot be said."""
    lora = choose_adapter(model, adapter, method.traits.adapter) == "lora"
    if isinstance(method, Edit) or not lora or not has_layers(model):
        return 0
    # More than an adapter is put on, and so never above the first that is: experts are no linear layers.
    depth, names = num_layers(model), (name for name, _ in model.named_parameters())
    return _first_trained(method, model, [n for n in names if trains(method, canonical_name(model, n), depth)])


def _units(
    method: Edit, context: Context, watch: Watch, stop: Callable[[], bool] | None
) -> Generator[Record, None, int]:
    """The edits of a method without gradient steps; returns how many were made."""
    watch.begin()
    yield from watch.after(context.model, 0)
    began, done = time.perf_counter(), 0
    for done, unit in enumerate(method.units(context), 1):
        seconds = time.perf_counter() - began
        num_steps = max(done, context.num_steps)
        yield LoopStep(done, num_steps, unit.losses, 0.0, 0.0, unit.num_tokens, seconds)
        if stop is not None and stop():
            break
        if done < num_steps:
            yield from watch.after(context.model, done)
    return done


def _steps(
    plan: Plan,
    context: Context,
    trainable: Trainable,
    watch: Watch,
    pad_id: int,
    micro_batch: int | None,
    stop: Callable[[], bool] | None,
    snapshot: Snapshot,
) -> Generator[Record, None, int]:
    """The optimiser steps; returns how many were taken. The last probe is made of the artifact."""
    parameters, model, num_steps = trainable.parameters, context.model, context.num_steps
    first = snapshot.step
    snapshot.restore(model, context.state, watch.state)
    watch.begin(sum(len(row.ids) for rows in plan[0][1].step(0).values() for row in rows))
    if first == 0:
        yield from watch.after(model, 0)
    began, fit = time.perf_counter(), StepSplit.first(micro_batch, trainable.recomputes, model.device)
    for step, (method, own, feed) in enumerate(_each_step(plan)):
        if step < first:
            continue
        if own == 0 or step == first:
            optimiser = make_optimiser(parameters, method.learning_rate, model.device)
            snapshot.follow(optimiser, fresh=own == 0)
        context.step, context.rows = step, feed.step(own)
        losses, num_tokens, fitting = _backward(method, context, pad_id, parameters, fit)
        if fitting != fit:
            yield Warned(fitting.told(fit))
            fit = fitting
        if radius := perturbation_radius_of(method):
            with perturbed(parameters, radius):
                _backward(method, context, pad_id, parameters, fit)
        limit = 0.0 if isinstance(method, CombinesGradients) else method.max_gradient_norm
        norm = whole(torch.nn.utils.clip_grad_norm_(parameters, limit or math.inf))
        values, gradient_norm = _read(losses, norm)
        numbers = {**values, "gradient": gradient_norm}
        bad = [name for name, value in numbers.items() if not math.isfinite(value)]
        if bad:
            raise StepDiverged(step + 1, ", ".join(bad), trainable.artifact())
        if isinstance(method, SeesGradients):
            method.after_backward(context)
        rate = scheduled_rate(method, own)
        if isinstance(method, ScalesLearningRate):
            rate *= method.rate_factor(context)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if trainable.wrapped is not None and model.device.type == "cpu" and (step + 1) % HEAP_RETURNED_EVERY == 0:
            return_heap()
        method.after_step(context, step, losses)
        snapshot.step = step + 1
        seconds = time.perf_counter() - began
        yield LoopStep(step + 1, num_steps, values, rate, gradient_norm, num_tokens, seconds)
        if distributed.broadcast(stop is not None and stop()):
            return step + 1
        if step + 1 < num_steps:
            yield from watch.after(model, step + 1)
    return num_steps


def _each_step(plan: Plan) -> Iterator[tuple[Method, int, BatchSampler]]:
    """Each step's method, number within its phase, and feed."""
    for method, feed in plan:
        for step in range(method.steps):
            yield method, step, feed


def scheduled_rate(method: Method, step: int) -> float:
    """Learning rate of step `step` (from 0): a linear rise over the warm-up, then a linear fall towards 0."""
    rise = max(1, round(method.warmup * method.steps))
    if step < rise:
        return method.learning_rate * (step + 1) / rise
    return method.learning_rate * (method.steps - step) / max(1, method.steps - rise + 1)


def _backward(
    method: Method, context: Context, pad_id: int, parameters: list[torch.nn.Parameter], fit: StepSplit
) -> tuple[Losses, int, StepSplit]:
    """Gradients of one step; when memory runs out it is carried out in less, and is the same step."""
    model, rows = context.model, context.rows
    num_tokens = sum(len(row.ids) for part in rows.values() for row in part)
    while True:
        try:
            found = [
                _accumulate(method, context, batch, pad_id, fit)
                for batch in accumulation_batches(method, rows, model.device)
            ]
            return sum_of_losses(found), num_tokens, fit
        except Exception as error:
            if not is_out_of_memory(error) or distributed.size() > 1:  # the others wait for this step as it is
                raise
            present = fit.micro_batch or sum(len(part) for part in rows.values())
            if present == 1 and not fit.may_recompute:
                mend = "Use the adapter `lora`, shorter texts or a larger machine."
                raise ResourceError(
                    "memory", "one sequence", "does not fit into memory", mend, ("adapter", "lora")
                ) from error
            fit = fit.tighter(present)
        # Outside the handler, where the traceback no longer holds the failed pass's tensors.
        for parameter in parameters:
            parameter.grad = None
        gc.collect()
        empty_cache()


def _accumulate(
    method: Method, context: Context, batch: dict[str, list[Encoded]], pad_id: int, fit: StepSplit
) -> Losses:
    """Add the gradients of some of a step's sequences to the parameters' `.grad`."""
    model, limit = context.model, fit.micro_batch
    attack = attack_of(method, num_layers(model))
    layout = pack_parts(model, batch, pad_id, limit, apart=isinstance(method, CombinesGradients))
    # A layer computed again for its gradient would be computed without the attack's shift.
    with recomputed(model, fit.recompute and attack is None):
        shift = None
        if attack is not None:
            seed = (context.seed << 32) + context.step
            shift = attack.layer, find_shift(model, batch["forget"], pad_id, attack, seed, limit)
        return gradients(model, method, context, layout, limit is not None, shift)


def _read(losses: Losses, norm: torch.Tensor) -> tuple[dict[str, float], float]:
    """The step's numbers in one transfer from the device."""
    present = losses.named()
    scalars = [value.detach().float() for value in (*present.values(), norm)]
    *values, gradient_norm = torch.stack(scalars).tolist()
    return dict(zip(present, values, strict=True)), gradient_norm


def _check(model: PreTrainedModel, data: UnlearningData, method: Method, parts: dict[str, RowPart]) -> None:
    if "forget" not in parts:
        raise InputError("forget set", data.name, "has no rows", "Give at least one row to forget.")
    if "retain" in method.info.needs and "retain" not in parts:
        mend = (
            f"{method.info.name} holds the rest of the model with it: give one, or `general` for the "
            "bundled general text."
        )
        raise InputError("retain set", data.name, "has no rows", mend, ("retain_data", "general"))
    reason = method.supports(model) or _why_alone(method, num_layers(model))
    if not reason and looks_inside(method, num_layers(model)) and not has_layers(model):
        reason = f"reads a layer, and {type(model).__name__} does not go through one layer after the other"
    if reason:
        _refuse(method, reason)


def _why_alone(method: Method, depth: int) -> str | None:
    """Why the processes of a team cannot carry out the method; None where they can, or where there is one."""
    if distributed.size() == 1:
        return None
    if attack_of(method, depth) is not None:
        return "attacks hidden states, which several processes cannot share"
    if perturbation_radius_of(method):
        return "takes every step twice, which several processes cannot do together"
    inside = isinstance(method, Edit) or hidden_layer_of(method, depth) is not None
    return "looks inside the model, which several processes cannot share" if inside else None


def _refuse(method: Method, reason: str) -> NoReturn:
    raise InputError("method", method.info.name, reason, "Choose another method or model.")


def _notes(method: Method, mix: BatchComposition, parts: dict[str, RowPart], trainable: Trainable) -> Generator[Record]:
    if mix.holdout and "holdout" not in parts:
        yield Warned("No never-trained text of this kind is given: how unlikely it would be is an estimate.")
    if trainable.parameters and has_small_moments(
        sum(p.numel() for p in trainable.parameters), trainable.parameters[0].device
    ):
        yield Warned("The optimiser keeps its moments in 8 bits (bitsandbytes).")
    if trainable.kind == "full" and trainable.came_in != torch.float32:
        came_in = str(trainable.came_in).removeprefix("torch.")
        yield Warned(f"The weights train in float32 and stay so: in {came_in} most of a small change would be lost.")
    if trainable.parameters and trainable.model.device.type == "cuda":
        reason = why_padded(trainable.model)
        if reason is not None:
            yield Warned(f"Sequences are padded to one length, which is slower, because {reason}.")
    if trainable.is_large and not trainable.wrapped and method.learning_rate > 1e-4:
        yield Warned(
            f"A learning rate of {method.learning_rate:g} suits small models; at this size full weights "
            "usually break above 1e-5."
        )


__all__ = ["FactProbe", "LoopStep", "Record", "StepDiverged", "Warned", "unlearn"]
