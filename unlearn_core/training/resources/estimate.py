"""What a run will take, before it starts: memory by purpose, and floating-point operations.

The lines are those the loop itself allocates, for the very rows that its first steps draw; nothing is loaded
to know them (see `models.shape`). Seconds and money follow from a rate and a price (see `runs.planning.costs`).
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch

from unlearn_core.data.encode import Encoded, encode_document, prompt_ids, text_ids
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import BatchComposition, Edit, Method, RowPart
from unlearn_core.methods.capabilities import (
    CombinesGradients,
    any_step_can_end,
    distilled_parts_of,
    reference_parts_of,
)
from unlearn_core.models.adapters import LORA_FROM
from unlearn_core.models.generation.generate import CPU_CACHE_BYTES, MAX_ROWS
from unlearn_core.models.inference.forward import BLOCK_BYTES
from unlearn_core.models.inference.likelihood import LOGITS_PER_BLOCK, ROWS_PER_BLOCK, TOKENS_PER_BATCH
from unlearn_core.models.shape import BodyPass, Shape, standing
from unlearn_core.models.split import ROOM
from unlearn_core.training.data import build_parts, feeds, visited
from unlearn_core.training.layout import cheapest_bins
from unlearn_core.training.packing import WHOLE_BYTES, accumulation_batches
from unlearn_core.training.reference import DENSE_BYTES, KEPT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_STEPS_LOOKED_AT = 4  # of each phase
# Of a CPU process's tensors, what the C library holds beyond them (measured). Weights and moments are there once
# and for all; activations of ever other sizes leave holes between them, and an adapter's many small tensors keep
# it from giving any back. Larger tensors than it ever keeps (glibc's DEFAULT_MMAP_THRESHOLD_MAX) go back to the
# system one by one.
_ALLOCATOR = {"activations": 0.4, "lora": 0.7, "scoring": 0.15}
_NEVER_KEPT = 32 * 2**20
_BACKWARD = {"full": 2.0, "lora": 1.0}  # FLOPs of the backward pass in forward passes: weights and inputs


class Workload:
    """The rows of a run, tokenised once however many methods and settings are asked about."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, data: UnlearningData) -> None:
        self.data, self.tokenizer = data, tokenizer
        self._parts: dict[BatchComposition, dict[str, RowPart]] = {}

    def parts(self, mix: BatchComposition) -> dict[str, RowPart]:
        """The sequences that steps of this make-up draw on, whatever their number."""
        kind = replace(mix, forget=1, retain=min(1, mix.retain), holdout=min(1, mix.holdout))
        if kind not in self._parts:
            self._parts[kind] = build_parts(self.tokenizer, self.data, kind)
        return self._parts[kind]

    @cached_property
    def scored(self) -> tuple[int, int]:
        """Tokens that pass the model in one scoring, and the longest prompt."""
        data, tokenizer = self.data, self.tokenizer
        asked = [*data.forget, *data.retain, *data.paraphrases]
        prompts = [len(prompt_ids(tokenizer, row.prompt)) for row in asked]
        written = sum(min(data.max_new_tokens, len(text_ids(tokenizer, row.output)) + 1) for row in asked)
        documents = sum(len(encode_document(tokenizer, text).ids) for text in (*data.members, *data.nonmembers))
        questions = sum(len(text_ids(tokenizer, q.question)) + 30 for q in data.questions) * 4
        return sum(prompts) + written + documents + questions, max(prompts, default=1)


@dataclass(frozen=True)
class ResourceEstimate:
    """Bytes by purpose at the fullest moment of training and of scoring, and FLOPs of each."""

    num_parameters: int
    num_trained: int
    training: dict[str, int]
    scoring: dict[str, int]
    training_flops: float
    scoring_flops: float

    @property
    def peak(self) -> int:
        """Bytes in use at the fullest moment of the run."""
        return max(sum(self.training.values()), sum(self.scoring.values()))

    @property
    def flops(self) -> float:
        return self.training_flops + self.scoring_flops


class _Step(NamedTuple):
    """The sequences of a step, or of a piece of one, as they are packed, and the labelled positions of each part."""

    num_positions: int
    num_pairs: int  # of positions that attention compares
    targets: dict[str, int]
    masked: bool


def estimate(
    shape: Shape,
    work: Workload,
    method: Method,
    *,
    device: str = "cpu",
    room: int | None = None,
    processes: int = 1,
    seed: int = 0,
) -> ResourceEstimate:
    """The sizes of a run of `method` on a model of `shape`, sharded over `processes`.

    room: a GPU's bytes, beyond which a large model's layers are computed again for their gradients (see
    `activation_memory`); None for as many as it takes.
    """
    mix = method.mix()
    parts = work.parts(mix)
    plan = feeds(method, parts, work.data, seed)
    drawn = [feed.step(step) for phase, feed in plan for step in range(min(phase.steps, _STEPS_LOOKED_AT))]
    pieces = [
        _packed(piece, shape.text.hidden_size, device)
        for rows in drawn
        for piece in accumulation_batches(method, rows, device)
    ]
    largest = max(pieces, key=lambda piece: piece.num_positions)
    sizes = max(1, largest.num_positions // processes), max(1, largest.num_pairs // processes)
    traced = shape.trace(*sizes)
    targets = {name: sum(part.rows[row].num_targets for row in visited(plan, name)) for name, part in parts.items()}
    training = _training(shape, traced, largest, method, targets, processes)
    full = device != "cpu" and (room is None or sum(training.values()) <= room)
    recompute = traced.num_parameters >= LORA_FROM and not full
    if recompute:
        again = shape.trace(*sizes, recompute=True)
        training = _training(shape, again, largest, method, targets, processes, copied=False)
    scoring_tokens, longest = work.scored
    scoring = _scoring(shape, traced, longest + work.data.max_new_tokens, len(work.data.forget), device)
    if processes > 1 and room is not None and ROOM * traced.num_parameters * shape.dtype.itemsize > room:
        scoring = {purpose: size // processes for purpose, size in scoring.items()}  # each has a part of the model
    if device == "cpu":
        if any_step_can_end(method):  # on a GPU they lie in the host's memory
            training["best weights so far"] = _standing(shape, traced)["gradients"]
        mapped = _mapped_bytes(shape, method, largest, processes)
        kind, holed = "lora", sum(training.values())
        if shape.adapter == "full":
            kind, holed = "activations", training["activations, logits, gradients"]
        training["allocator"] = int(_ALLOCATOR[kind] * (holed - mapped))
        scoring["allocator"] = int(_ALLOCATOR["scoring" if shape.adapter == "full" else "lora"] * sum(scoring.values()))
    head = 2 * shape.text.hidden_size * shape.text.vocab_size
    per_position = traced.flops / sizes[0]
    upper = per_position * shape.num_upper / shape.text.num_hidden_layers
    forward = sum(upper * piece.num_positions + head * sum(piece.targets.values()) for piece in pieces) / len(drawn)
    sequences = mix.forget + mix.retain + mix.holdout
    passes = (1 + recompute + _BACKWARD[shape.adapter]) * max(1.0, method.info.cost * mix.forget / sequences)
    if shape.adapter == "lora" and not method.traits.stores_reference:  # once more with the adapter switched off
        passes += sum(getattr(mix, part) for part in reference_parts_of(method)) / sequences
    return ResourceEstimate(
        traced.num_parameters,
        traced.num_trained,
        training,
        scoring,
        forward * passes * method.steps,
        (per_position + head) * scoring_tokens,
    )


def _packed(rows_by_part: dict[str, list[Encoded]], hidden: int, device: str) -> _Step:
    """As `training.layout` does it: on a GPU end to end, elsewhere in rows of one width."""
    lengths = [len(row.ids) for part in rows_by_part.values() for row in part]
    targets = {name: sum(max(0, row.num_targets) for row in part) for name, part in rows_by_part.items()}
    if device != "cpu":
        return _Step(sum(lengths), sum(length**2 for length in lengths), targets, False)
    width, bins = cheapest_bins(lengths, hidden)
    positions = len(bins) * width
    return _Step(positions, positions * width, targets, len(bins) < len(lengths))


def _standing(shape: Shape, traced: BodyPass) -> dict[str, int]:
    return standing(traced.num_parameters, traced.num_trained, shape.dtype, shape.adapter)


def _training(
    shape: Shape,
    traced: BodyPass,
    step: _Step,
    method: Method,
    visited: dict[str, int],
    processes: int,
    copied: bool = True,
) -> dict[str, int]:
    """Bytes when a step's forward pass has just ended, or its backward pass, whichever is more. `copied`: the
    shorter copies that layers compute with (see `models.precision`) are kept in between."""
    held = {purpose: size // processes for purpose, size in _standing(shape, traced).items()}
    trained = held.pop("gradients")
    if isinstance(method, Edit):
        held["optimiser"] = 0
    if method.traits.weight_copies:
        held["copies of the weights"] = trained * method.traits.weight_copies
    mask = step.num_pairs * shape.dtype.itemsize // processes if step.masked else 0
    forward = traced.kept_bytes + mask + _vocabulary_bytes(shape, method, step, processes)
    wanted = _wanted(method, visited)
    kept = shape.adapter == "full" or method.traits.stores_reference
    stored = [part for part in wanted if kept or part in distilled_parts_of(method)]
    # Two gradients that are combined: the first is kept through the second backward pass.
    combined = isinstance(method, CombinesGradients)
    gradients = trained * (3 if combined else 1)
    forward += trained if combined else 0
    if copied and shape.adapter == "full" and shape.dtype != torch.float32:
        forward += traced.num_parameters * shape.dtype.itemsize // processes
    return {
        **held,
        "activations, logits, gradients": int(max(forward, gradients)),
        "reference": sum(_reference_bytes(shape, visited[part]) for part in stored),
    }


def _wanted(method: Method, parts: Container[str]) -> list[str]:
    """The parts at whose targets the original's log-probabilities are wanted."""
    return [part for part in (*reference_parts_of(method), *distilled_parts_of(method)) if part in parts]


def _vocabulary_bytes(shape: Shape, method: Method, step: _Step, processes: int) -> int:
    """A step's tensors over the vocabulary: logits and their log-softmax at all targets, and two gradients at
    those of the part that is largest, because parts go back one after the other; all of it at once, or a
    block at a time. To these come the original's log-probabilities (their products with the model's are gone
    before the gradients come, and are no more than those), and where rows are distilled, a copy of their logits and
    its log-softmax: the loss of the text reads the whole part."""
    column = 4 * shape.text.vocab_size / processes
    number, largest = sum(step.targets.values()), max(step.targets.values())
    share = largest / max(1, number)
    logits = (2 + 2 * share) * (number * column if number * column <= WHOLE_BYTES else BLOCK_BYTES)
    compared = [step.targets[part] for part in _wanted(method, step.targets)]
    distilled = [step.targets[part] for part in distilled_parts_of(method) if part in step.targets]
    return int(logits + column * (sum(compared) + 2 * sum(distilled)))


def _mapped_bytes(shape: Shape, method: Method, step: _Step, processes: int) -> int:
    """Of those tensors, the ones that the C library gives back to the system one by one."""
    one = 4 * max(step.targets.values()) * shape.text.vocab_size / processes
    return _vocabulary_bytes(shape, method, step, processes) if min(one, BLOCK_BYTES) > _NEVER_KEPT else 0


def _reference_bytes(shape: Shape, positions: int) -> int:
    """Log-probabilities of the original that the method has stored (see `training.reference`)."""
    dense = 4 * positions * shape.text.vocab_size
    return dense if dense <= DENSE_BYTES else positions * KEPT * 12


def _scoring(shape: Shape, traced: BodyPass, positions: int, prompts: int, device: str) -> dict[str, int]:
    """Bytes when answers are generated or documents read, whichever is more."""
    # Weights that trained are float32 from then on (see `models.precision`), and so are their keys and values.
    before, weight = shape.dtype.itemsize, 4 if shape.adapter == "full" else shape.dtype.itemsize
    rows = min(MAX_ROWS[device], 2 * prompts)
    cache = rows * positions * shape.cache_bytes * weight // before
    if device == "cpu":
        cache = min(cache, CPU_CACHE_BYTES)
    block = max(LOGITS_PER_BLOCK[device], ROWS_PER_BLOCK * shape.text.vocab_size)
    reading = 5 * 4 * block + TOKENS_PER_BATCH[device] * shape.text.hidden_size * weight * 8
    return {
        "weights": traced.num_parameters * weight,
        "weights before the run": traced.num_parameters * before if shape.adapter == "full" else 0,
        "keys and values, logits": max(cache, reading),
    }
