"""How the sequences of one step are laid out for their pass.

They are packed: short ones share a row of the batch, each seeing only itself, so that next to nothing is spent on
padding; on a GPU all share one row, and nothing is (see `models.inference.packed`). Several processes each take a
share of the sequences.

    a a a a b b b .       row 1: sequences a and b, one position unused
    c c c c c d d d       row 2        attention is block-diagonal and causal

Legend: B rows of the batch, T positions, N labelled positions in the sequences' order, M tokens, S sequences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.models.inference.forward import computing_dtype, device_of, stands_alone, unwrap
from unlearn_core.models.inference.packed import NAME, bounded, lies_flat
from unlearn_core.models.inference.positions import max_positions, uniform_up_to
from unlearn_core.models.inference.side_by_side import can_pass_together
from unlearn_core.models.inference.trials import holds, plain_logits, same, sample_ids
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import send

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HALVED_FROM = 256  # tokens of a step whose halves can pass side by side: fewer are not worth a second thread
Packer = Callable[[Sequence[int]], tuple[int, list[list[int]]]]  # lengths -> row width, members of each row


@dataclass(frozen=True)
class PackedSequences:
    """Sequences that pass the model together."""

    input_ids_BT: torch.Tensor
    position_ids_BT: torch.Tensor
    apart: dict[str, Any]  # what keeps the sequences of a row from seeing each other, for the model
    at_N: torch.Tensor  # flat positions (row * T + column) that predict a labelled token
    places_M: torch.Tensor  # flat positions of the real tokens, in the sequences' order
    sequences: tuple[tuple[int, ...], ...]  # their tokens


@dataclass(frozen=True)
class StepLayout:
    """The sequences of one step, in the order of its parts."""

    parts: tuple[tuple[str, int, int], ...]  # name, first and last + 1 sequence
    packs: tuple[PackedSequences, ...]  # of this process
    bounds: tuple[int, ...]  # process r predicts the labelled positions bounds[r] to bounds[r + 1]
    labels_N: torch.Tensor
    row_N: torch.Tensor  # sequence of each labelled position
    index_S: torch.Tensor  # dataset row of each sequence
    index: tuple[int, ...]  # the same on the host
    offsets: tuple[int, ...]  # first labelled position of each sequence, and their number
    num_tokens: int

    @property
    def num_positions(self) -> int:
        """Positions that go through the model, padding included."""
        return sum(pack.input_ids_BT.numel() for pack in self.packs)


def pack_parts(
    model: PreTrainedModel,
    rows_by_part: dict[str, list[Encoded]],
    pad_id: int,
    limit: int | None = None,
    apart: bool = False,
) -> StepLayout:
    """Pack one step's sequences; at most `limit` of them pass the model at a time, parts `apart` or not."""
    rows = [row for part in rows_by_part.values() for row in part]
    device = device_of(model)
    longest = max((len(row.ids) for row in rows), default=0)
    packer = _packer(model, longest)
    shares = _shares(rows, distributed.size())
    stops = list(accumulate(len(part) for part in rows_by_part.values())) if apart and distributed.size() == 1 else []
    if stands_alone(model, longest):
        limit = 1
    num_tokens = sum(len(row.ids) for row in rows)
    if limit is None and num_tokens >= HALVED_FROM and can_pass_together(model, longest):
        stops = sorted({*stops, *_shares(rows, 2)[1:]})
    drafts = _drafts(rows, shares, stops, limit or len(rows), pad_id, packer)
    counts = torch.tensor([row.num_predicted for row in rows])
    labels = [token for row in rows for token in row.ids[len(row.ids) - row.num_predicted :]]
    parts, start = [], 0
    for name, part in rows_by_part.items():
        parts.append((name, start, start + len(part)))
        start += len(part)
    offsets = (0, *counts.cumsum(0).tolist())
    index = tuple(row.index for row in rows)
    of_step = [
        torch.tensor(labels, dtype=torch.long),
        torch.arange(len(rows)).repeat_interleave(counts),
        torch.tensor(index, dtype=torch.long),
    ]
    labels_N, row_N, index_S, *sent = send([*of_step, *(one for _, tensors in drafts for one in tensors)], device)
    packs = [_pack(own, sent[5 * number : 5 * number + 5], model) for number, (own, _) in enumerate(drafts)]
    bounds = tuple(offsets[share] for share in shares)
    return StepLayout(tuple(parts), tuple(packs), bounds, labels_N, row_N, index_S, index, offsets, num_tokens)


def _shares(rows: Sequence[Encoded], num_processes: int) -> list[int]:
    """Where each process's run of sequences begins, and the end: about as many tokens for each."""
    ends = list(accumulate(len(row.ids) for row in rows))
    cuts = [ends[-1] * part / num_processes for part in range(1, num_processes)]
    return [0, *(sum(end <= cut for end in ends) for cut in cuts), len(rows)]


def _drafts(
    rows: list[Encoded], shares: list[int], stops: list[int], limit: int, pad_id: int, packer: Packer
) -> list[tuple[list[Encoded], list[torch.Tensor]]]:
    """The rows and tensors of this process's packs, none across a stop; as many in each process, which call the model
    in step."""
    at, last = shares[distributed.rank()], shares[distributed.rank() + 1]
    end = at + max(stop - start for start, stop in pairwise(shares))
    drafts = []
    while at < end:
        until = min([at + limit, *(stop for stop in stops if stop > at)])
        own = rows[at : min(until, last)]
        drafts.append((own or rows[:1], _draft(own or rows[:1], pad_id, packer, idle=not own)))
        at = until
    return drafts


def can_pack(model: PreTrainedModel) -> bool:
    """Whether rows may hold several sequences, each under a mask of our own, up to `uniform_up_to` tokens."""
    inner = unwrap(model)
    if inner.config._attn_implementation not in ("sdpa", NAME, "eager") or max_positions(inner) is not None:
        return False
    way = "end to end" if lies_flat(model) else "in rows"
    return holds(inner, f"packing {way} changes nothing", _packing_changes_nothing)


def _packing_changes_nothing(model: PreTrainedModel) -> bool:
    rows = [Encoded(tuple(sample_ids(model, length, 3 * length)), 1) for length in (5, 9, 3)]
    draft = _draft(rows, 1, flat if lies_flat(model) else lambda lengths: (14, [[0, 1], [2]]))
    pack = _pack(rows, send(draft, device_of(model)), model)
    inputs = {"input_ids": pack.input_ids_BT, "position_ids": pack.position_ids_BT, "use_cache": False, **pack.apart}
    ours_NV = model(**inputs).logits.flatten(0, 1)[pack.places_M]
    return same(ours_NV, torch.cat([plain_logits(model, list(row.ids)) for row in rows]))


def _packer(model: PreTrainedModel, longest: int) -> Packer:
    """How sequences of at most `longest` tokens are put into rows."""
    packable = longest <= uniform_up_to(unwrap(model)) and can_pack(model)
    if packable and lies_flat(model):
        return flat
    packer: Packer = one_each
    if packable:
        packer = partial(cheapest_bins, hidden=model.config.get_text_config().hidden_size)
    if device_of(model).type != "cuda":
        return packer

    def even(lengths: Sequence[int]) -> tuple[int, list[list[int]]]:
        width, bins = packer(lengths)
        return width + -width % 8, bins  # a mask of any other width would be copied in every layer

    return even


def one_each(lengths: Sequence[int]) -> tuple[int, list[list[int]]]:
    """A row for each."""
    return max(lengths), [[i] for i in range(len(lengths))]


def _draft(rows: Sequence[Encoded], pad_id: int, packer: Packer, idle: bool = False) -> list[torch.Tensor]:
    """A pack on the host, `rows` laid out in rows of one width: token ids and positions (B, T), the positions that
    predict, the places of the tokens, and what keeps sequences apart: the bounds of flat ones, else the segment of each
    position (B, T), if needed. An `idle` pack predicts nothing."""
    lengths = [len(row.ids) for row in rows]
    width, bins = packer(lengths)
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
    places = [start + n for row, start in zip(rows, starts, strict=True) for n in range(len(row.ids))]
    shape = (len(bins), width)
    apart = torch.tensor([], dtype=torch.long)
    if len(rows) > 1 and packer is flat:
        apart = torch.tensor([0, *lengths]).cumsum(0)
    elif len(bins) < len(rows):
        apart = torch.tensor(segments).view(shape)
    return [
        torch.tensor(ids).view(shape),
        torch.tensor(positions).view(shape),
        torch.tensor([] if idle else at, dtype=torch.long),
        torch.tensor(places),
        apart,
    ]


def _pack(rows: Sequence[Encoded], tensors: Sequence[torch.Tensor], model: PreTrainedModel) -> PackedSequences:
    """What `_draft` made of `rows`, from its `tensors` on the device."""
    ids_BT, positions_BT, at_N, places_M, kept = tensors
    sequences = tuple(row.ids for row in rows)
    apart: dict[str, Any] = {}
    if kept.numel() and kept.dim() == 1:
        apart = bounded(kept, max(map(len, sequences)))
    elif kept.numel():
        segments_BT = kept
        same_BTT = segments_BT[:, :, None] == segments_BT[:, None, :]
        # Added to the scores as it is; True and False would be turned into numbers in every layer.
        zeros_BTT = torch.zeros(same_BTT.shape, dtype=computing_dtype(model), device=same_BTT.device)
        apart = {"attention_mask": zeros_BTT.masked_fill(~same_BTT.tril(), -torch.inf)[:, None]}
    return PackedSequences(ids_BT, positions_BT, apart, at_N, places_M, sequences)


def flat(lengths: Sequence[int]) -> tuple[int, list[list[int]]]:
    """One row of them all, in their order."""
    return sum(lengths), [list(range(len(lengths)))]


def cheapest_bins(lengths: Sequence[int], hidden: int) -> tuple[int, list[list[int]]]:
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
