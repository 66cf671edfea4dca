"""Where a model's own hidden states put the subjects of a data set, as points on a plane.

A subject's state is the mean of what a middle layer puts out over the prompts about it; the two directions in
which the subjects differ most (principal components) are the plane. Subjects whose prompts the model reads alike
lie near each other.
Legend: S subjects, B rows of a batch, T positions, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, collate, pad_id_of, prompt_ids
from unlearn_core.data.subject_groups import SubjectGroup
from unlearn_core.models.inference.forward import device_of, has_layers, num_layers, stands_alone
from unlearn_core.models.inference.hidden import hidden_after
from unlearn_core.models.inference.likelihood import TOKENS_PER_BATCH

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LEAST_SUBJECTS = 3  # fewer lie on a line
MAX_ROWS = 3  # prompts read of a subject
MAX_TOKENS = 128  # of a prompt, its last ones


@dataclass(frozen=True)
class SubjectPlaces:
    """A point with coordinates from 0 to 1 for each subject, in order. layer: whose output was read, from 1, of
    `num_layers`. spread: the share (0..1) of all differences between the subjects that the plane shows."""

    points: tuple[tuple[float, float], ...]
    layer: int
    num_layers: int
    spread: float


def place_subjects(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, groups: Sequence[SubjectGroup]
) -> SubjectPlaces | None:
    """The places of the subjects; None for too few of them, where the model has no layers in turn, or where its
    states are not finite numbers. Draws no random number."""
    if len(groups) < LEAST_SUBJECTS or not has_layers(model):
        return None
    depth = num_layers(model)
    layer = max(1, depth // 2)
    states_SD = _mean_states(model, tokenizer, groups, layer - 1)
    if not states_SD.isfinite().all():
        return None
    points_S2, spread = plane_of(states_SD)
    points = tuple((round(x, 4), round(y, 4)) for x, y in points_S2.tolist())
    return SubjectPlaces(points, layer, depth, round(spread, 4))


def plane_of(states_SD: torch.Tensor) -> tuple[torch.Tensor, float]:
    """The states on their first two principal components, each moved and scaled to 0..1 (S, 2), and the share of
    the variance that the two hold. A component's sign is that of its largest entry."""
    centred_SD = states_SD.double() - states_SD.double().mean(0)
    left_SK, size_K, right_KD = torch.linalg.svd(centred_SD, full_matrices=False)
    largest_K1 = right_KD.abs().argmax(1, keepdim=True)
    points_SK = left_SK * size_K * right_KD.gather(1, largest_K1).sign()[:, 0]
    points_S2 = torch.nn.functional.pad(points_SK[:, :2], (0, max(0, 2 - points_SK.shape[1])))
    low_2, high_2 = points_S2.min(0).values, points_S2.max(0).values
    room_2 = (high_2 - low_2).clamp(min=1e-12)
    total = float(size_K.square().sum())
    return (points_S2 - low_2) / room_2, float(size_K[:2].square().sum()) / total if total else 0.0


@torch.inference_mode()
def _mean_states(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, groups: Sequence[SubjectGroup], layer: int
) -> torch.Tensor:
    """The mean output (S, D) of `layer` (from 0) over all tokens of each subject's prompts."""
    rows = []
    for place, group in enumerate(groups):
        for row in group.rows[:MAX_ROWS]:
            ids = prompt_ids(tokenizer, row.prompt)[-MAX_TOKENS:]
            rows.append(Encoded(tuple(ids), len(ids), place))
    rows.sort(key=lambda row: len(row.ids))
    device = device_of(model)
    most = TOKENS_PER_BATCH["cpu" if device.type == "cpu" else "cuda"]
    size = 1 if stands_alone(model, len(rows[-1].ids)) else max(1, most // len(rows[-1].ids))
    sums_SD = torch.zeros(len(groups), int(model.config.get_text_config().hidden_size))
    counts_S = torch.zeros(len(groups))
    for start in range(0, len(rows), size):
        batch = collate(rows[start : start + size], pad_id_of(tokenizer)).to(device)
        # No mask: padding is on the right, where no real position looks.
        hidden_BTD = hidden_after(model, layer, {"input_ids": batch.input_ids_BT, "use_cache": False}).float()
        real_BT = batch.attention_mask_BT.float()
        index_B = batch.index_B.cpu()
        sums_SD.index_add_(0, index_B, (hidden_BTD * real_BT[..., None]).sum(1).cpu())
        counts_S.index_add_(0, index_B, real_BT.sum(1).cpu())
    return sums_SD / counts_S.clamp(min=1)[:, None]
