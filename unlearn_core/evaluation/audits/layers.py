"""Inside a decoder: its layers, what they say through the output head, and a nudge to what they pass on.

Legend: B rows, T positions, N answer tokens, D hidden, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from unlearn_core.data.encode import IGNORED, Encoded, collate
from unlearn_core.models.architecture import final_norm
from unlearn_core.models.inference.forward import device_of, layers, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS, _POSITIONS = 32, 8192  # in the model at a time: what every layer passes on is kept


@torch.inference_mode()
def hidden_states(
    model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int
) -> Iterator[tuple[Sequence[Encoded], tuple[torch.Tensor, ...]]]:
    """Rows in batches with the output of every layer (B, T, D); of the last one after the final norm."""
    longest = max((len(row.ids) for row in rows), default=1)
    size = max(1, min(_ROWS, _POSITIONS // longest))
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        batch = collate(part, pad_id).to(device_of(model))
        out = unwrap(model)(
            input_ids=batch.input_ids_BT,
            attention_mask=batch.attention_mask_BT,
            use_cache=False,
            output_hidden_states=True,
            logits_to_keep=1,
        )
        yield part, out.hidden_states[1:]


@torch.inference_mode()
def lens(model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int) -> Iterator[tuple[int, torch.Tensor]]:
    """Logit lens: for each batch its number of rows, and the mean log-probability (B, L) of the answers
    when each layer's output goes straight through the final norm and the head."""
    norm, head = final_norm(model) or torch.nn.Identity(), model.get_output_embeddings()
    assert head is not None
    for part, states in hidden_states(model, rows, pad_id):
        batch = collate(part, pad_id).to(device_of(model))
        labels_BT = batch.labels_BT[:, 1:]
        wanted_BT = labels_BT != IGNORED
        row_N, label_N = wanted_BT.nonzero()[:, 0], labels_BT[wanted_BT]
        columns = []
        for number, state_BTD in enumerate(states, 1):
            state_ND = state_BTD[:, :-1][wanted_BT]
            logits_NV = head(state_ND if number == len(states) else norm(state_ND)).float()
            log_prob_N = logits_NV.log_softmax(-1).gather(-1, label_N[:, None])[:, 0]
            sums_B = log_prob_N.new_zeros(len(part)).index_add(0, row_N, log_prob_N)
            columns.append(sums_B / torch.bincount(row_N, minlength=len(part)).clamp(min=1))
        yield len(part), torch.stack(columns, -1).cpu()


@contextmanager
def nudged(model: PreTrainedModel, layer: int, nudge_D: torch.Tensor) -> Iterator[PreTrainedModel]:
    """`model` with `nudge_D` added to what layer `layer` passes on, at every position."""

    def add(_module: torch.nn.Module, _inputs: object, output: Any) -> Any:
        if isinstance(output, tuple):
            return (output[0] + nudge_D, *output[1:])
        return output + nudge_D

    handle = layers(model)[layer].register_forward_hook(add)
    try:
        yield model
    finally:
        handle.remove()


@contextmanager
def frozen(model: PreTrainedModel) -> Iterator[None]:
    """No parameter takes a gradient meanwhile, so that attacks on inputs cost no memory for weights."""
    required = [(p, p.requires_grad) for p in model.parameters()]
    for parameter, _ in required:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, was in required:
            parameter.requires_grad_(was)
