"""One pass for all parts of a step, and its gradients, whole or in smaller pieces.

The sequences of a step are run in groups of similar length (nothing is gained by padding a question of
20 tokens to a document of 90), only labelled positions reach the output head, and the head runs once.
Right padding needs no attention mask under causal attention: no real position sees it.

Legend: N labelled positions in row order, D hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import IGNORED, Batch, Encoded, collate
from unlearn_core.methods.base import Context, Losses, Method, StepBatch
from unlearn_core.models.forward import Answers, body_and_head, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What starting one more group costs, in padded positions' worth of arithmetic.
GROUP_COST = {"cpu": 96, "cuda": 4096}


def length_groups(lengths: Sequence[int], group_cost: int, limit: int | None = None) -> list[list[int]]:
    """Partition sequences into groups of similar length, cheapest in padded positions plus group cost.

    `limit` bounds the sequences of a group. Exact over cuts between distinct lengths (sorted).
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    cuts = [0] + [i for i in range(1, len(order)) if lengths[order[i]] != lengths[order[i - 1]]]
    cuts.append(len(order))
    best: list[tuple[int, int]] = [(0, 0)]  # cheapest cost up to a cut, and where its last group starts
    for end in range(1, len(cuts)):
        width = lengths[order[cuts[end] - 1]]
        best.append(min((best[at][0] + width * (cuts[end] - cuts[at]) + group_cost, at) for at in range(end)))
    groups, end = [], len(cuts) - 1
    while end:
        start = best[end][1]
        groups.append(order[cuts[start] : cuts[end]])
        end = start
    size = limit or len(order)
    return [group[at : at + size] for group in reversed(groups) for at in range(0, len(group), size)]


@dataclass(frozen=True)
class Layout:
    """The sequences of a step in part order, their groups, and where each labelled position goes."""

    parts: tuple[tuple[str, int, int], ...]  # name, first and last + 1 sequence
    batches: tuple[Batch, ...]
    order_N: torch.Tensor  # positions of the groups, laid end to end, brought into row order
    labels_N: torch.Tensor
    row_N: torch.Tensor
    index_B: torch.Tensor
    offsets: tuple[int, ...]  # first labelled position of each sequence, and their number
    num_tokens: int

    @property
    def num_positions(self) -> int:
        """Positions that go through the model, padding included."""
        return sum(batch.input_ids_BT.numel() for batch in self.batches)


def lay_out(
    rows_by_part: dict[str, list[Encoded]], pad_id: int, device: torch.device, limit: int | None = None
) -> Layout:
    """Group and collate one step's sequences; at most `limit` of them pass the model at a time."""
    rows = [row for part in rows_by_part.values() for row in part]
    lengths = [len(row.ids) for row in rows]
    groups = length_groups(lengths, GROUP_COST.get(device.type, 4096), limit)
    batches = tuple(collate([rows[i] for i in group], pad_id).to(device) for group in groups)
    # The first token of a sequence has nothing before it and is never a target.
    counts = torch.tensor([len(row.ids) - max(row.num_prompt, 1) for row in rows])
    offsets = [0, *counts.cumsum(0).tolist()]
    placed = torch.tensor([i for group in groups for i in group])
    row_in_groups_N = placed.repeat_interleave(counts[placed])
    order_N = row_in_groups_N.argsort(stable=True)
    labels_N = torch.cat([batch.labels_BT[:, 1:][_wanted(batch)] for batch in batches])[order_N.to(device)]
    parts, start = [], 0
    for name, part in rows_by_part.items():
        parts.append((name, start, start + len(part)))
        start += len(part)
    return Layout(
        tuple(parts), batches, order_N.to(device), labels_N,
        torch.arange(len(rows)).repeat_interleave(counts).to(device),
        torch.tensor([row.index for row in rows], device=device), tuple(offsets), sum(lengths),
    )  # fmt: skip


def _wanted(batch: Batch) -> torch.Tensor:
    return batch.labels_BT[:, 1:] != IGNORED


def forward(model: PreTrainedModel, layout: Layout) -> torch.Tensor:
    """Logits (N, V) at every labelled position of the step, in row order."""
    split = body_and_head(model)
    if split is None:
        return torch.cat([_group_logits(model, batch) for batch in layout.batches])[layout.order_N]
    body, head = split
    hidden = [_group_hidden(body, batch) for batch in layout.batches]
    return head(torch.cat(hidden)[layout.order_N])


def _group_hidden(body: torch.nn.Module, batch: Batch) -> torch.Tensor:
    hidden_BTD = body(input_ids=batch.input_ids_BT, use_cache=False).last_hidden_state
    return hidden_BTD[:, :-1][_wanted(batch)]


def _group_logits(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Logits of one group, in the group's own order."""
    split = body_and_head(model)
    if split is None:
        logits_BTV = unwrap(model)(input_ids=batch.input_ids_BT, use_cache=False).logits
        return logits_BTV[:, :-1][_wanted(batch)]
    return split[1](_group_hidden(split[0], batch))


def split_parts(layout: Layout, logits_NV: torch.Tensor) -> dict[str, Answers]:
    """The answers of each part, as views of the step's logits."""
    found = {}
    for name, first, last in layout.parts:
        at = slice(layout.offsets[first], layout.offsets[last])
        found[name] = Answers(
            logits_NV[at], layout.labels_N[at], layout.row_N[at] - first, layout.index_B[first:last]
        )
    return found


def gradients(
    model: PreTrainedModel, method: Method, context: Context, layout: Layout, in_pieces: bool = False
) -> Losses:
    """Run one step forward and backward; the gradients are left in the parameters' `.grad`.

    In pieces, the losses are computed once on the whole step's logits and their gradient is then carried
    through the model group by group: the same gradient for any loss, one extra forward, and the
    activations of one group at a time.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if in_pieces:
        with torch.no_grad():
            logits_NV = torch.cat([_group_logits(model, batch) for batch in layout.batches])[layout.order_N]
        logits_NV.requires_grad_()
    else:
        logits_NV = forward(model, layout)
    losses = method.losses(context, StepBatch(**split_parts(layout, logits_NV)))
    if method.separate_gradients:
        assert losses.forget is not None
        assert losses.retain is not None
        wanted = [
            _parameter_gradients(model, parameters, loss, layout, logits_NV if in_pieces else None)
            for loss in (losses.forget, losses.retain)
        ]
        for parameter, gradient in zip(parameters, method.combine(*wanted), strict=True):
            parameter.grad = gradient
    elif in_pieces:
        found = _parameter_gradients(model, parameters, losses.total, layout, logits_NV)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
    else:
        losses.total.backward()  # type: ignore[no-untyped-call]
    return losses


def _parameter_gradients(
    model: PreTrainedModel,
    parameters: list[torch.nn.Parameter],
    loss: torch.Tensor,
    layout: Layout,
    leaf_NV: torch.Tensor | None,
) -> list[torch.Tensor]:
    if leaf_NV is None:
        found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]
    (slope_NV,) = torch.autograd.grad(loss, leaf_NV, retain_graph=True)
    in_groups_NV = slope_NV[layout.order_N.argsort()]  # from row order back to the groups' order
    sums = [torch.zeros_like(p) for p in parameters]
    start = 0
    for batch in layout.batches:
        logits_NV = _group_logits(model, batch)
        part_NV = in_groups_NV[start : start + len(logits_NV)]
        start += len(logits_NV)
        found = torch.autograd.grad(logits_NV, parameters, part_NV, allow_unused=True)
        for total, gradient in zip(sums, found, strict=True):
            if gradient is not None:
                total += gradient
    return sums
