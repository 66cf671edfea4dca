"""What a run will take, before it starts: memory by purpose, and floating-point operations.

The lines are those the loop itself allocates; nothing is loaded to know them (see `models.shape`).
Seconds and money follow from a rate and a price (see `runs.costs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from unlearn_core.data.encode import Encoded, encode_document
from unlearn_core.data.types import UnlearningData
from unlearn_core.methods.base import Method
from unlearn_core.models.forward import BLOCK_BYTES
from unlearn_core.models.generate import MAX_ROWS
from unlearn_core.models.likelihood import LOGITS_PER_BLOCK, TOKENS_PER_BATCH
from unlearn_core.models.shape import Pass, Shape
from unlearn_core.training.data import MAX_TOKENS, Feed, build_parts
from unlearn_core.training.joined import WHOLE_BYTES, cheapest_bins
from unlearn_core.training.reference import DENSE_BYTES, KEPT

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_STEPS_LOOKED_AT = 4
_LOGIT_COPIES = 5  # logits, their log-softmax, and the gradients on the way back
_ALLOCATOR = 0.1  # of a CPU process's tensors: what the C library holds beyond them (measured)
_BACKWARD = {"full": 2.0, "lora": 1.0}  # FLOPs of the backward pass in forward passes: weights and inputs


@dataclass(frozen=True)
class Estimate:
    """Bytes by purpose at the fullest moment of training and of scoring, and FLOPs of each."""

    num_parameters: int
    num_trained: int
    training: dict[str, int]
    scoring: dict[str, int]
    step_tokens: float
    training_flops: float
    scoring_flops: float

    @property
    def peak(self) -> int:
        """Bytes in use at the fullest moment of the run."""
        return max(sum(self.training.values()), sum(self.scoring.values()))

    @property
    def flops(self) -> float:
        return self.training_flops + self.scoring_flops


def estimate(
    shape: Shape, tokenizer: PreTrainedTokenizerBase, data: UnlearningData, method: Method,
    *, device: str = "cpu", processes: int = 1,
) -> Estimate:  # fmt: skip
    """The sizes of a run of `method` on a model of `shape`, sharded over `processes`."""
    mix = method.mix()
    parts = build_parts(tokenizer, data, mix)
    feed = Feed(parts, mix, 0)
    steps = [
        [row for rows in feed.step(step).values() for row in rows]
        for step in range(min(method.steps, _STEPS_LOOKED_AT))
    ]
    largest = max(steps, key=lambda rows: sum(len(row.ids) for row in rows))
    width, bins = cheapest_bins([len(row.ids) for row in largest], shape.text.hidden_size)
    traced = shape.trace(-(-len(bins) // processes), width)
    tokens = sum(len(row.ids) for rows in steps for row in rows) / len(steps)
    targets = {name: [part.rows[i] for i in feed.visited(name, method.steps)] for name, part in parts.items()
               if name != "refusals"}  # fmt: skip
    reference = _reference_bytes(shape, method, targets)
    training = _training(shape, traced, largest, reference, processes)
    scoring_tokens, longest = _scored(tokenizer, data)
    scoring = _scoring(shape, traced, longest + data.max_new_tokens, len(data.forget), device)
    if device == "cpu":
        if method.may_end_anywhere:  # on a GPU they lie in the host's memory
            training["best weights so far"] = traced.num_trained * (
                shape.dtype.itemsize if shape.adapter == "full" else 4
            )
        for purposes in (training, scoring):
            purposes["allocator"] = int(_ALLOCATOR * sum(purposes.values()))
    per_token = _flops_per_token(shape, traced, len(bins) * width)
    sequences = mix.forget + mix.retain + mix.holdout
    passes = max(1.0, method.info.cost * mix.forget / sequences)
    trained = per_token * tokens * method.steps * passes * (1 + _BACKWARD[shape.adapter])
    return Estimate(
        traced.num_parameters, traced.num_trained, training, scoring, tokens, trained,
        per_token * scoring_tokens,
    )  # fmt: skip


def _training(
    shape: Shape, traced: Pass, rows: list[Encoded], reference: int, processes: int
) -> dict[str, int]:
    """Bytes when a step's forward pass has just ended, or its backward pass, whichever is more."""
    weight, full = shape.dtype.itemsize, shape.adapter == "full"
    trained = weight if full else 4  # peft keeps an adapter in float32
    positions = sum(max(0, row.num_targets) for row in rows) / processes
    logits = _logit_bytes(shape, positions)
    gradients = traced.num_trained * trained // processes
    passing = max(traced.kept_bytes + logits, gradients)
    return {
        "weights": traced.num_parameters * weight // processes,
        "weights before the run": traced.num_parameters * weight // processes if full else 0,
        "optimiser": 2 * traced.num_trained * trained // processes,
        "activations, logits, gradients": int(passing),
        "reference": reference,
    }


def _logit_bytes(shape: Shape, positions: float) -> int:
    """Logits of `positions` and what losses make of them: all at once, or a block at a time."""
    whole = 4 * positions * shape.text.vocab_size
    return int(_LOGIT_COPIES * (whole if whole <= WHOLE_BYTES else BLOCK_BYTES))


def _reference_bytes(shape: Shape, method: Method, rows: dict[str, list[Encoded]]) -> int:
    """Log-probabilities of the original that the method has stored (see `training.reference`)."""
    if "reference logits" not in method.info.needs or shape.adapter == "lora":
        return 0
    part = "retain" if "retain" in rows else "forget"
    positions = sum(row.num_targets for row in rows[part])
    dense = 4 * positions * shape.text.vocab_size
    return dense if dense <= DENSE_BYTES else positions * KEPT * 12


def _scoring(shape: Shape, traced: Pass, positions: int, prompts: int, device: str) -> dict[str, int]:
    """Bytes when answers are generated or documents read, whichever is more."""
    weight = shape.dtype.itemsize
    rows = min(MAX_ROWS[device], 2 * prompts)
    cache = rows * positions * shape.cache_bytes
    block = LOGITS_PER_BLOCK[device]
    reading = 5 * 4 * block + TOKENS_PER_BATCH[device] * shape.text.hidden_size * weight * 8
    return {
        "weights": traced.num_parameters * weight,
        "weights before the run": traced.num_parameters * weight if shape.adapter == "full" else 0,
        "keys and values, logits": max(cache, reading),
    }


def _scored(tokenizer: Any, data: UnlearningData) -> tuple[int, int]:
    """Tokens that pass the model in one scoring, and the longest prompt."""
    asked = [*data.forget, *data.retain, *data.paraphrases]
    prompts = [len(tokenizer(row.input)["input_ids"]) for row in asked]
    written = sum(min(data.max_new_tokens, len(tokenizer(row.output)["input_ids"]) + 1) for row in asked)
    documents = sum(len(encode_document(tokenizer, text).ids) for text in (*data.members, *data.nonmembers))
    questions = sum(len(tokenizer(q.question)["input_ids"]) + 30 for q in data.questions) * 4
    return sum(prompts) + written + documents + questions, max(prompts, default=1)


def _flops_per_token(shape: Shape, traced: Pass, positions: int) -> float:
    """FLOPs of one token's forward pass, the output head included."""
    return traced.flops / positions + 2 * shape.text.hidden_size * shape.text.vocab_size


__all__ = ["MAX_TOKENS", "Estimate", "estimate"]
