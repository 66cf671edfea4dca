"""One pass for all parts of a step, and its gradients, whole or in smaller pieces.

The sequences of a step are packed: short ones share a row of the batch, each seeing only itself, so that
next to nothing is spent on padding. Only labelled positions reach the output head.

    a a a a b b b .       row 1: sequences a and b, one position unused
    c c c c c d d d       row 2        attention is block-diagonal and causal

Legend: B rows of the batch, T positions, N labelled positions in the sequences' order, D hidden,
V vocabulary, S sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Losses, Method, StepBatch
from unlearn_core.models.forward import Answers, body_and_head, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Pack:
    """Sequences that pass the model together."""

    input_ids_BT: torch.Tensor
    position_ids_BT: torch.Tensor
    mask_B1TT: torch.Tensor | None  # True where a position may look; None: plain causal attention
    at_N: torch.Tensor  # flat positions (row * T + column) that predict a labelled token


@dataclass(frozen=True)
class Layout:
    """The sequences of one step, in the order of its parts."""

    parts: tuple[tuple[str, int, int], ...]  # name, first and last + 1 sequence
    packs: tuple[Pack, ...]
    labels_N: torch.Tensor
    row_N: torch.Tensor  # sequence of each labelled position
    index_S: torch.Tensor  # dataset row of each sequence
    offsets: tuple[int, ...]  # first labelled position of each sequence, and their number
    num_tokens: int

    @property
    def num_positions(self) -> int:
        """Positions that go through the model, padding included."""
        return sum(pack.input_ids_BT.numel() for pack in self.packs)


def lay_out(
    model: PreTrainedModel,
    rows_by_part: dict[str, list[Encoded]],
    pad_id: int,
    limit: int | None = None,
) -> Layout:
    """Pack one step's sequences; at most `limit` of them pass the model at a time."""
    rows = [row for part in rows_by_part.values() for row in part]
    size, device = limit or len(rows), model.device
    hidden = model.config.get_text_config().hidden_size if can_pack(model) else None
    packs = tuple(_pack(rows[at : at + size], pad_id, device, hidden) for at in range(0, len(rows), size))
    # The first token of a sequence has nothing before it and is never a target.
    firsts = [max(row.num_prompt, 1) for row in rows]
    counts = torch.tensor([len(row.ids) - first for row, first in zip(rows, firsts, strict=True)])
    labels = [token for row, first in zip(rows, firsts, strict=True) for token in row.ids[first:]]
    parts, start = [], 0
    for name, part in rows_by_part.items():
        parts.append((name, start, start + len(part)))
        start += len(part)
    return Layout(
        tuple(parts), packs, torch.tensor(labels, device=device),
        torch.arange(len(rows)).repeat_interleave(counts).to(device),
        torch.tensor([row.index for row in rows], device=device),
        (0, *counts.cumsum(0).tolist()), sum(len(row.ids) for row in rows),
    )  # fmt: skip


def can_pack(model: PreTrainedModel) -> bool:
    """True where rows may hold several sequences: rotary positions, full attention, a mask of our own."""
    config = unwrap(model).config.get_text_config()
    rotary = getattr(config, "rope_parameters", None) or getattr(config, "rope_theta", None)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    return bool(rotary) and kinds == {"full_attention"} and config._attn_implementation == "sdpa"


def _pack(rows: Sequence[Encoded], pad_id: int, device: torch.device, hidden: int | None) -> Pack:
    lengths = [len(row.ids) for row in rows]
    width = max(lengths)
    bins = [[i] for i in range(len(rows))]
    if hidden is not None:
        width, bins = _cheapest_bins(lengths, hidden)
    ids: list[int] = []
    positions: list[int] = []
    segments: list[int] = []
    starts = [0] * len(rows)
    for number, members in enumerate(bins):
        used = 0
        for segment, i in enumerate(members):
            starts[i] = number * width + used
            ids += rows[i].ids
            positions += range(len(rows[i].ids))
            segments += [segment] * len(rows[i].ids)
            used += len(rows[i].ids)
        ids += [pad_id] * (width - used)
        positions += range(width - used)
        segments += [-1] * (width - used)
    at = [
        place
        for row, start in zip(rows, starts, strict=True)
        for place in range(start + max(row.num_prompt, 1) - 1, start + len(row.ids) - 1)
    ]
    shape = (len(bins), width)
    mask_B1TT = None
    if len(bins) < len(rows):
        segments_BT = torch.tensor(segments, device=device).view(shape)
        same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
        mask_B1TT = same_BTT.tril()[:, None]
    return Pack(
        torch.tensor(ids, device=device).view(shape), torch.tensor(positions, device=device).view(shape),
        mask_B1TT, torch.tensor(at, device=device),
    )  # fmt: skip


def _cheapest_bins(lengths: Sequence[int], hidden: int) -> tuple[int, list[list[int]]]:
    """A row width and which sequences share each row: narrow rows pad more, wide ones attend more.

    Per position and layer the linear maps cost about 24 D^2 and attention 4 T D operations.
    """
    tried = []
    for stretch in (1.0, 1.25, 1.5, 2.0, 3.0, 4.0):
        width = int(max(lengths) * stretch)
        bins = _bins(lengths, width)
        width = max(sum(lengths[i] for i in members) for members in bins)
        tried.append((len(bins) * width * (1 + width / (6 * hidden)), width, bins))
    _, width, bins = min(tried, key=lambda item: item[0])
    return width, bins


def _bins(lengths: Sequence[int], width: int) -> list[list[int]]:
    """First-fit decreasing: sequences into as few rows of `width` as this simple rule finds."""
    bins: list[list[int]] = []
    room: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        number = next((n for n, free in enumerate(room) if free >= lengths[i]), None)
        if number is None:
            bins.append([i])
            room.append(width - lengths[i])
        else:
            bins[number].append(i)
            room[number] -= lengths[i]
    return bins


def forward(model: PreTrainedModel, layout: Layout) -> torch.Tensor:
    """Logits (N, V) at every labelled position of the step, in the sequences' order."""
    return torch.cat([_logits(model, pack) for pack in layout.packs])


def _logits(model: PreTrainedModel, pack: Pack) -> torch.Tensor:
    inputs = {
        "input_ids": pack.input_ids_BT, "attention_mask": pack.mask_B1TT,
        "position_ids": pack.position_ids_BT, "use_cache": False,
    }  # fmt: skip
    split = body_and_head(model)
    if split is None:
        return unwrap(model)(**inputs).logits.flatten(0, 1)[pack.at_N]
    body, head = split
    return head(body(**inputs).last_hidden_state.flatten(0, 1).index_select(0, pack.at_N))


def split_parts(layout: Layout, logits_NV: torch.Tensor) -> dict[str, Answers]:
    """The answers of each part, as views of the step's logits."""
    found = {}
    for name, first, last in layout.parts:
        at = slice(layout.offsets[first], layout.offsets[last])
        found[name] = Answers(
            logits_NV[at], layout.labels_N[at], layout.row_N[at] - first, layout.index_S[first:last]
        )
    return found


def gradients(
    model: PreTrainedModel, method: Method, context: Context, layout: Layout, in_pieces: bool = False
) -> Losses:
    """Run one step forward and backward; the gradients are left in the parameters' `.grad`.

    In pieces, the losses are computed once on the whole step's logits and their gradient is then carried
    through the model pack by pack: the same gradient for any loss, one extra forward, and the activations
    of one pack at a time.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if in_pieces:
        with torch.no_grad():
            logits_NV = forward(model, layout)
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
    sums = [torch.zeros_like(p) for p in parameters]
    start = 0
    for pack in layout.packs:
        stop = start + len(pack.at_N)
        logits_NV = _logits(model, pack)
        found = torch.autograd.grad(logits_NV, parameters, slope_NV[start:stop], allow_unused=True)
        start = stop
        for total, gradient in zip(sums, found, strict=True):
            if gradient is not None:
                total += gradient
    return sums
