"""Train a model to know a corpus by heart: next-token loss, Muon on hidden matrices, AdamW on the rest.

A generic trainer, of which making a target model is the one use. It yields progress, is closed to
stop it, and goes on from its last checkpoint; the order of data depends only on seed and epoch, so a
resumed training ends in the same weights as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from unlearn_core.data.encode import Encoded, collate, encode_document, encode_example, epoch_order, pad_id_of
from unlearn_core.data.types import Example
from unlearn_core.errors import DivergedError
from unlearn_core.models.inference.forward import answers
from unlearn_core.models.inference.positions import context_length
from unlearn_core.system.files import replacing
from unlearn_core.training.data import MAX_TOKENS
from unlearn_core.training.muon import Muon

Corpus = Callable[[int], Sequence[Example | str]]  # epoch number -> items


@dataclass(frozen=True)
class Recipe:
    """How to train. The rate rises over the first `warmup` of it, holds, and falls over the last `decay`."""

    num_epochs: int
    learning_rate: float = 4e-3
    tokens_per_batch: int = 2048
    warmup: float = 0.05
    decay: float = 0.4
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0

    def rate(self, progress: float) -> float:
        """Learning rate at `progress` (0..1) through training."""
        return self.learning_rate * min(1.0, (progress + 1e-3) / self.warmup, (1 - progress) / self.decay)


@dataclass(frozen=True, slots=True)
class TrainProgress:
    """One optimiser step done. `loss` is in nats per labelled token, `fraction` (0..1) of the training."""

    stage: str
    step: int
    epoch: int
    fraction: float
    loss: float
    tokens: int
    seconds: float


def encode_items(tokenizer: PreTrainedTokenizerBase, items: Sequence[Example | str], max_tokens: int) -> list[Encoded]:
    """Rows with the loss on the answer; documents with the loss on every token."""
    return [
        encode_document(tokenizer, item, i, max_tokens)
        if isinstance(item, str)
        else encode_example(tokenizer, item, i, max_tokens)
        for i, item in enumerate(items)
    ]


def make_batches(rows: Sequence[Encoded], tokens_per_batch: int, seed: int, epoch: int) -> list[list[Encoded]]:
    """Batches of rows of like length, at most `tokens_per_batch` padded tokens each, in shuffled order."""
    shuffled = [rows[i] for i in epoch_order(len(rows), seed, epoch)]
    batches: list[list[Encoded]] = []
    batch: list[Encoded] = []
    for row in sorted(shuffled, key=lambda row: len(row.ids)):  # stable: like lengths stay shuffled
        if batch and len(row.ids) * (len(batch) + 1) > tokens_per_batch:
            batches.append(batch)
            batch = []
        batch.append(row)
    batches.append(batch)
    return [batches[i] for i in epoch_order(len(batches), seed + 1, epoch)]


class Trainer:
    """A model, its two optimisers, and where its training stands."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
        self.model, self.tokenizer, self.recipe = model, tokenizer, recipe
        embeddings = {
            id(p) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) for p in layer.parameters()
        }
        matrices = [p for p in model.parameters() if p.ndim == 2 and id(p) not in embeddings]
        others = [p for p in model.parameters() if p.ndim != 2 or id(p) in embeddings]
        self.optimisers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=recipe.learning_rate, weight_decay=recipe.weight_decay),
            torch.optim.AdamW(others, lr=recipe.learning_rate, weight_decay=0.0, betas=(0.9, 0.95)),
        ]
        self.epoch = self.step = self.tokens = 0
        self.seconds = 0.0

    def run(self, corpus: Corpus, stage: str = "train", checkpoint: Path | None = None) -> Iterator[TrainProgress]:
        """Train to the end of the recipe; `checkpoint` is started from where it exists, and kept current."""
        if checkpoint is not None and checkpoint.exists():
            self.load(checkpoint)
        self.model.train()
        max_tokens = context_length(self.model) or MAX_TOKENS
        while self.epoch < self.recipe.num_epochs:
            rows = encode_items(self.tokenizer, corpus(self.epoch), max_tokens)
            batches = make_batches(rows, self.recipe.tokens_per_batch, self.recipe.seed, self.epoch)
            for i, batch in enumerate(batches):
                fraction = (self.epoch + i / len(batches)) / self.recipe.num_epochs
                loss = self._step(batch, self.recipe.rate(fraction))
                yield TrainProgress(stage, self.step, self.epoch, fraction, loss, self.tokens, self.seconds)
            self.epoch += 1
            if checkpoint is not None:
                self.save(checkpoint)
        self.model.eval()

    def _step(self, rows: list[Encoded], rate: float) -> float:
        start = time.perf_counter()
        batch = collate(rows, pad_id_of(self.tokenizer)).to(self.model.device)
        part = answers(self.model, batch)
        loss = F.cross_entropy(part.logits_NV.float(), part.labels_N)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        if not torch.isfinite(norm):
            raise DivergedError("loss", float(loss.detach()), "is not finite any more", "Lower the learning rate.")
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            optimiser.zero_grad()
        self.step += 1
        self.tokens += batch.input_ids_BT.numel()
        self.seconds += time.perf_counter() - start
        return float(loss.detach())

    def save(self, path: Path) -> None:
        """Write everything needed to go on, then rename it into place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        state: dict[str, Any] = {
            "model": self.model.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "epoch": self.epoch,
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds,
        }
        with replacing(path) as partial:
            torch.save(state, partial)

    def load(self, path: Path) -> None:
        """Go on from what `save` wrote."""
        state = torch.load(path, map_location=self.model.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.epoch, self.step = state["epoch"], state["step"]
        self.tokens, self.seconds = state["tokens"], state["seconds"]
