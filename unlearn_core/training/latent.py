"""The latent attack: a shift of hidden states under which the forget answers become likely again.

Yuan et al. 2024, arXiv 2408.10682 (LAU): random start, then `rounds` steps of normalised gradient descent on
the NLL of the forget answers, each sequence's shift kept within `radius` (norm over its tokens and units).
The authors also clamp the shifted states to the range of the clean ones; here the radius alone bounds them.
Legend: M tokens of all sequences laid end to end, D hidden, S sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.capabilities import LatentAttack
from unlearn_core.training.layout import StepLayout, pack_parts
from unlearn_core.training.packing import head_of, pack_outputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def find_shift(
    model: PreTrainedModel,
    rows: Sequence[Encoded],
    pad_id: int,
    attack: LatentAttack,
    seed: int,
    limit: int | None = None,
) -> torch.Tensor:
    """The shift (M, D) for the rows; gradients of parameters are neither computed nor touched."""
    layout = pack_parts(model, {"": list(rows)}, pad_id, limit)
    lengths = torch.tensor([len(row.ids) for row in rows])
    sequence_M = torch.arange(len(rows)).repeat_interleave(lengths).to(model.device)
    width = model.config.get_text_config().hidden_size
    drawn = torch.Generator().manual_seed(seed)
    start_MD = torch.randn(len(sequence_M), width, generator=drawn)
    share_S = torch.rand(len(rows), generator=drawn)
    unit_MD = _unit(start_MD.to(model.device), sequence_M, len(rows))
    shift_MD = unit_MD * (attack.radius * share_S.to(model.device))[sequence_M, None]
    for _ in range(attack.rounds):
        gradient_MD = _unit(_gradient(model, layout, attack.layer, shift_MD), sequence_M, len(rows))
        shift_MD = shift_MD - attack.radius / attack.rounds * gradient_MD
        norm_S = _norms(shift_MD, sequence_M, len(rows))
        shift_MD = shift_MD * (attack.radius / norm_S.clamp(min=attack.radius))[sequence_M, None]
    return shift_MD


def _gradient(model: PreTrainedModel, layout: StepLayout, layer: int, shift_MD: torch.Tensor) -> torch.Tensor:
    """Gradient (M, D) of the token mean NLL with respect to the shift, pack by pack."""
    shift_MD = shift_MD.detach().requires_grad_()
    total_MD = torch.zeros_like(shift_MD)
    start = 0
    for number, pack in enumerate(layout.packs):
        stop = start + len(pack.at_N)
        logits_NV = head_of(model)(pack_outputs(model, layout, number, shift=(layer, shift_MD))[0])
        nll = torch.nn.functional.cross_entropy(logits_NV.float(), layout.labels_N[start:stop], reduction="sum")
        total_MD += torch.autograd.grad(nll / len(layout.labels_N), shift_MD)[0]
        start = stop
    return total_MD


def _norms(values_MD: torch.Tensor, sequence_M: torch.Tensor, count: int) -> torch.Tensor:
    squares_M = values_MD.float().square().sum(-1)
    return squares_M.new_zeros(count).index_add(0, sequence_M, squares_M).sqrt()


def _unit(values_MD: torch.Tensor, sequence_M: torch.Tensor, count: int) -> torch.Tensor:
    return values_MD / (_norms(values_MD, sequence_M, count) + 1e-6)[sequence_M, None]
