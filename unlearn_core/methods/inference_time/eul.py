"""EUL: unlearning layers behind each MLP, one set for each request, fused into one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import IGNORED, Encoded, collate, epoch_order, pad_id_of
from unlearn_core.methods.base import Context, EditedUnit, Info, Losses, parameter
from unlearn_core.methods.inference_time.auxiliary_training import AuxiliaryTraining, Rows
from unlearn_core.methods.losses import kl_divergence
from unlearn_core.methods.objectives.gradient import mean_nll
from unlearn_core.methods.objectives.recipes import shares, split
from unlearn_core.models.inference.forward import answers
from unlearn_core.models.inference.inference_wrapper import beneath
from unlearn_core.models.wrappers.unlearning_layers import UnlearningLayers, fuse, has_place
from unlearn_core.models.wrappers.wrapper_artifact import Wrapper

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from unlearn_core.models.artifacts import Artifact

_CHUNK = 32


@dataclass(frozen=True)
class EUL(AuxiliaryTraining):
    info = Info(
        name="eul",
        title="Unlearning layers (EUL)",
        family="arithmetic",
        taxonomy="architecture",
        idea="Puts a small layer behind each MLP and trains only these to part from the original on the "
        "forget set and to follow it on the rest. Layers of several requests are fused in closed form.",
        formula="KL(original || current; retain) + task NLL(retain) - min(KL(forget), cap) - lm "
        "min(NLL(forget), cap); fused W = (sum X_i^T X_i)^-1 sum X_i^T X_i W_i",
        paper="Chen and Yang 2023, Unlearn What You Want to Forget, arXiv 2310.20150",
        cost=2.0,
        needs=frozenset({"forget", "retain"}),
        caution="The weights beneath are unchanged: taking the layers off brings all of it back. Both sets "
        "are in every step, where the authors alternate by epoch, and in X_i, where they take one set; "
        "fusing keeps only part of the forgetting. On the bundled world little is forgotten, and retained "
        "answers fade beside it.",
    )

    learning_rate: float = parameter(2e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(120, "Optimiser steps, shared by the requests", 1, 100_000)
    requests: int = parameter(1, "Requests the forget set is split into, each with layers of its own", 1, 100)
    width: int = parameter(128, "Width of each layer", 1, 4096)
    task: float = parameter(5.0, "Weight of the retain loss", 0.0, 100.0)
    lm: float = parameter(1.0, "Weight of the loss raised on the forget set", 0.0, 100.0)
    cap: float = parameter(3.0, "Nats per token at which a push ends, which has no bound of its own", 0.0, 100)

    def supports(self, model: PreTrainedModel) -> str | None:
        return None if has_place(model) else "needs an architecture whose layers have an MLP"

    def prepare(self, context: Context) -> None:
        front = UnlearningLayers.fresh(context.model, self.width, context.seed)
        front.attach(context.model, 1.0)
        context.closing.callback(front.detach, context.model)
        context.state["front"] = front

    def units(self, context: Context) -> Iterator[EditedUnit]:
        """Train each request's layers from the same start, and fuse them at the end."""
        front: UnlearningLayers = context.state["front"]
        start = [tensor.clone() for tensor in (*front.downs, *front.ups)]
        count = len(front.downs)
        order = epoch_order(len(context.parts["forget"].rows), context.seed, 0)
        chunks = split(order, min(self.requests, context.num_steps))
        trained, grams = [], []
        for chunk, steps in zip(chunks, shares(context.num_steps, len(chunks)), strict=True):
            own = [torch.nn.Parameter(tensor.clone()) for tensor in start]
            front.downs, front.ups = list(own[:count]), list(own[count:])
            for number, unit in enumerate(self.fit(context, own, partial(self._losses, context), steps, chunk), 1):
                if number == steps:
                    rows = [context.parts["forget"].rows[row] for row in chunk]
                    rows += context.parts["retain"].rows[:: max(1, len(context.parts["retain"].rows) // len(rows))]
                    trained.append([tensor.detach() for tensor in own])
                    grams.append(_grams(context, front, rows) if len(chunks) > 1 else [])
                    if len(trained) > 1:  # in place before the last step is reported
                        fused = [fuse(m, g) for m, g in zip(zip(*trained), zip(*grams))]  # noqa: B905
                        front.downs, front.ups = fused[:count], fused[count:]
                yield unit

    def _losses(self, context: Context, rows: Rows) -> Losses:
        with beneath(context.model), torch.no_grad():
            known = [context.current.predictions(rows[part]).logits_NV for part in ("forget", "retain")]
        forget, retain = (context.current.predictions(rows[part]) for part in ("forget", "retain"))
        kl = [
            kl_divergence(before.float().log_softmax(-1), part.logits_NV).mean()
            for before, part in zip(known, (forget, retain), strict=True)
        ]
        gone, held = mean_nll(forget), mean_nll(retain)
        push = kl[0].clamp(max=self.cap) + self.lm * gone.clamp(max=self.cap)
        return Losses(kl[1] + self.task * held - push, gone, held)

    def finalise(self, context: Context) -> Artifact:
        front: UnlearningLayers = context.state["front"]
        front.downs, front.ups = ([t.detach() for t in each] for each in (front.downs, front.ups))
        return Wrapper(context.model, front)


@torch.no_grad()
def _grams(context: Context, front: UnlearningLayers, rows: Sequence[Encoded]) -> list[torch.Tensor]:
    """X^T X of what enters each Down and each Up at the answers of `rows`: all Downs, then all Ups."""
    device = context.model.device
    sizes = [(down.shape[1], up.shape[1]) for down, up in zip(front.downs, front.ups, strict=True)]
    front.seen = [(torch.zeros(d, d, device=device), torch.zeros(u, u, device=device)) for d, u in sizes]
    rows = sorted(rows, key=lambda row: len(row.ids))  # so that little is spent on padding
    for at in range(0, len(rows), _CHUNK):
        batch = collate(rows[at : at + _CHUNK], pad_id_of(context.tokenizer)).to(device)
        front.where = batch.labels_BT.roll(-1, dims=1) != IGNORED
        front.where[:, -1] = False
        answers(context.model, batch)
    found, front.seen, front.where = front.seen, None, None
    return [down for down, _ in found] + [up for _, up in found]
