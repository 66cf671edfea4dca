"""One pass for all parts of a step, and its gradients, whole or in smaller pieces.

The sequences are packed (see `training.layout`), and only labelled positions reach the output head. Several processes
each pass a share of the sequences; what the losses read is put together, so that every one of them computes the same
loss of the whole step, and its gradient through its own share.

Legend: N labelled positions in the sequences' order, n those of one pack or process, D hidden, V vocabulary, M tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import torch

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Losses, Method, StepBatch
from unlearn_core.methods.capabilities import CombinesGradients, hidden_layer_of, state_layers_of
from unlearn_core.models.inference.forward import (
    AnswerPredictions,
    HiddenStates,
    HostIndex,
    body_and_head,
    has_layers,
    num_layers,
    rewind,
    unwrap,
)
from unlearn_core.models.inference.frozen_bottom import bottom_of
from unlearn_core.models.inference.hidden import collected, hidden_after, shifted
from unlearn_core.models.inference.side_by_side import side_by_side
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import send
from unlearn_core.training.layout import StepLayout, pack_parts
from unlearn_core.training.layout import can_pack as can_pack  # for who looks for it here

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Found = TypeVar("Found")
WHOLE_BYTES = 512 * 2**20  # float32 logits of a step are held in full up to this size
ACCUMULATION_TOKENS = 600  # in a batch whose gradient is accumulated: smaller ones would be slower
COPIED_BYTES = 2**28  # of gradients kept apart by pack until they are added up
CHUNK = 64  # sequences in one forward pass outside the steps
Shift = tuple[int, torch.Tensor]  # a layer, and what is added (M, D) to what enters it at the first M tokens


def predict(model: PreTrainedModel, layout: StepLayout) -> dict[str, AnswerPredictions]:
    """The answers of each part of the step."""
    return split_parts(layout, _prediction(model, layout, _hidden(model, layout)))


def forward(model: PreTrainedModel, layout: StepLayout, layer: int | None = None) -> torch.Tensor:
    """Logits (N, V) at every labelled position of the step, in the sequences' order.

    With `layer`, the hidden states (N, D) that this layer puts out instead.
    """
    own_ND = _hidden(model, layout, layer)
    return HiddenStates(own_ND, head_of(model, layer), layout.bounds).logits_NV


def _prediction(
    model: PreTrainedModel, layout: StepLayout, hidden_ND: torch.Tensor, layer: int | None = None
) -> torch.Tensor | HiddenStates:
    """The logits where they are small, otherwise what gives losses and logits on demand."""
    prediction = HiddenStates(hidden_ND, head_of(model, layer), layout.bounds)
    return prediction.logits_NV if _in_full(model, layout) else prediction


def _in_full(model: PreTrainedModel, layout: StepLayout) -> bool:
    """Whether the logits of all labelled positions are held at a time."""
    num_bytes = 4 * len(layout.labels_N) * model.config.get_text_config().vocab_size
    return distributed.size() == 1 and num_bytes <= WHOLE_BYTES


def head_of(model: PreTrainedModel, layer: int | None = None) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns hidden states into logits; nothing where the pass ended at a layer."""
    split = body_and_head(model)
    return torch.nn.Identity() if split is None or layer is not None else split[1]


def _hidden(model: PreTrainedModel, layout: StepLayout, layer: int | None = None) -> torch.Tensor:
    """Hidden states (n, D) below the head at this process's labelled positions."""
    return torch.cat(
        [top_nD for top_nD, *_ in each_pack(model, layout, partial(pack_outputs, model, layout, layer=layer))]
    )


def each_pack(model: PreTrainedModel, layout: StepLayout, call: Callable[[int], Found]) -> list[Found]:
    """What `call` makes of the number of each pack, side by side where threads share a CPU."""
    longest = max(pack.input_ids_BT.shape[1] for pack in layout.packs)
    return side_by_side(model, [partial(call, number) for number in range(len(layout.packs))], longest)


def pack_outputs(
    model: PreTrainedModel,
    layout: StepLayout,
    number: int,
    layer: int | None = None,
    shift: Shift | None = None,
    beside: Sequence[int] = (),
) -> list[torch.Tensor]:
    """Hidden states (n, D) of one pack; the logits themselves where the model changes them after its head. A shift
    adds its rows to what enters its layer at the first tokens of the layout, so that of a step it can move the first
    part alone. Then, where any are asked for, what the layers `beside` put out there, in turn (n, L x D)."""
    pack = layout.packs[number]
    inputs = {"input_ids": pack.input_ids_BT, "use_cache": False, **pack.apart}
    if pack.apart:
        inputs["position_ids"] = pack.position_ids_BT
    rewind(model, pack.input_ids_BT.shape[1])
    with ExitStack() as around:
        if shift is not None:
            at, shift_MD = shift
            first = sum(len(before.places_M) for before in layout.packs[:number])
            own_MD = shift_MD[first : first + len(pack.places_M)]
            around.enter_context(shifted(model, at, pack.places_M[: len(own_MD)], own_MD))
        if (bottom := bottom_of(model)) is not None:
            around.enter_context(bottom.entered(pack.sequences, inputs, pack.places_M))
        split = body_and_head(model) if layer is None else None  # a pass or two of its own, before any is collected
        states = around.enter_context(collected(model, beside)) if beside else []
        found_BTD: torch.Tensor
        if layer is not None:
            found_BTD = hidden_after(model, layer, inputs)
        elif split is not None:
            found_BTD = split[0](**inputs).last_hidden_state
        else:
            found_BTD = unwrap(model)(**inputs).logits
    # Of a model over several devices each layer puts out on its own.
    top_nD, *rest = [each.to(found_BTD).flatten(0, 1).index_select(0, pack.at_N) for each in (found_BTD, *states)]
    return [top_nD, torch.cat(rest, -1)] if rest else [top_nD]


def states_beside(layout: StepLayout, own_nX: torch.Tensor, number: int) -> torch.Tensor:
    """What `number` layers put out (S, L, D) at the last token of each sequence's prompt, from the values beside of
    all packs of `pack_outputs`."""
    own_NX = distributed.gather_rows(own_nX, layout.bounds)
    first_S = send([torch.tensor(layout.offsets[:-1])], own_NX.device)[0]
    states_SLD: torch.Tensor = own_NX[first_S].unflatten(1, (number, -1)).float()
    return states_SLD


def split_parts(
    layout: StepLayout, prediction: torch.Tensor | HiddenStates, states_SLD: torch.Tensor | None = None
) -> dict[str, AnswerPredictions]:
    """The answers of each part, as views of the step's logits where those are there."""
    if isinstance(prediction, torch.Tensor):
        # Split and not sliced: the backward pass then joins the parts' gradients instead of adding padded ones.
        pieces: Sequence[torch.Tensor | HiddenStates] = prediction.split(
            [layout.offsets[last] - layout.offsets[first] for _, first, last in layout.parts]
        )
    else:
        stops = [(layout.offsets[first], layout.offsets[last]) for _, first, last in layout.parts]
        pieces = [prediction.part(start, stop) for start, stop in stops]
    found = {}
    for (name, first, last), piece in zip(layout.parts, pieces, strict=True):
        at = slice(layout.offsets[first], layout.offsets[last])
        host = HostIndex(layout.index[first:last], tuple(b - a for a, b in pairwise(layout.offsets[first : last + 1])))
        row_N, index_B = layout.row_N[at] - first, layout.index_S[first:last]
        states_BLD = None if states_SLD is None else states_SLD[first:last]
        found[name] = AnswerPredictions(piece, layout.labels_N[at], row_N, index_B, host, states_BLD)
    return found


def pack_in_chunks(model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int) -> Iterator[StepLayout]:
    """The rows, CHUNK at a time in order of length."""
    in_order = sorted(rows, key=lambda row: len(row.ids))
    for at in range(0, len(rows), CHUNK):
        yield pack_parts(model, {"": in_order[at : at + CHUNK]}, pad_id)


def predict_in_chunks(
    model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int, layer: int | None = None
) -> Iterator[AnswerPredictions]:
    """Answers of the rows without gradient, CHUNK at a time in order of length."""
    for layout in pack_in_chunks(model, rows, pad_id):
        with torch.no_grad():
            prediction = _prediction(model, layout, _hidden(model, layout, layer), layer)
            answers = split_parts(layout, prediction)[""]
        yield answers


def state_layers(method: Method, model: PreTrainedModel) -> tuple[int, ...]:
    """The layers whose states the method reads besides; none in a model that does not go through them in turn."""
    beside = state_layers_of(method, num_layers(model))
    return beside if beside and has_layers(model) else ()


def gradients(
    model: PreTrainedModel,
    method: Method,
    context: Context,
    layout: StepLayout,
    in_pieces: bool = False,
    shift: Shift | None = None,
) -> Losses:
    """Run one step forward and backward; the gradients are left in the parameters' `.grad`.

    The losses are computed once on the whole step, and their gradient at what the packs put out is then carried
    through the model pack by pack: side by side where threads share a CPU, and where two gradients are wanted and
    the parts are packed apart, through each part's own packs alone. In pieces, the activations of one pack are held
    at a time, for one extra forward. The losses see the hidden states of the layer that the method reads, if it
    does, and predictions under `shift`.
    """
    layer, beside = hidden_layer_of(method, num_layers(model)), state_layers(method, model)
    head, in_full = head_of(model, layer), _in_full(model, layout)

    def run(number: int) -> list[torch.Tensor]:
        top_nD, *states = pack_outputs(model, layout, number, layer, shift, beside)
        return [head(top_nD) if in_full else top_nD, *states]

    with torch.set_grad_enabled(not in_pieces):
        passed = [run(number) for number in range(len(layout.packs))] if in_pieces else each_pack(model, layout, run)
    ends = [torch.cat(each) for each in zip(*passed, strict=True)]
    if in_pieces or (len(passed) > 1 and distributed.size() == 1):
        ends = [each.detach().requires_grad_() for each in ends]  # from where each pack carries its own part on
    top_ND, *states = ends
    states_SLD = states_beside(layout, states[0], len(beside)) if beside else None
    prediction = top_ND if in_full else HiddenStates(top_ND, head, layout.bounds)
    losses = method.losses(context, StepBatch(**split_parts(layout, prediction, states_SLD)))
    some_zero = distributed.size() == 1 and (in_pieces or isinstance(method, CombinesGradients))
    backward = partial(_backward, model, layout, run if in_pieces else passed.__getitem__, ends, some_zero=some_zero)
    if not isinstance(method, CombinesGradients):
        backward(losses.total, in_pieces)
        return losses
    assert losses.forget is not None
    assert losses.retain is not None
    parameters = [p for p in model.parameters() if p.requires_grad]
    wanted = []
    for loss in (losses.forget, losses.retain):
        backward(loss, in_pieces, again=loss is losses.forget)
        wanted.append([torch.zeros_like(p) if p.grad is None else p.grad for p in parameters])
        for parameter in parameters:
            parameter.grad = None
    for parameter, gradient in zip(parameters, method.combine(*wanted), strict=True):
        parameter.grad = gradient
    return losses


def _backward(
    model: PreTrainedModel,
    layout: StepLayout,
    run: Callable[[int], list[torch.Tensor]],
    ends: Sequence[torch.Tensor],
    loss: torch.Tensor,
    in_pieces: bool,
    some_zero: bool,
    again: bool = False,
) -> None:
    """Add the gradient of `loss` to the parameters' `.grad`; `again`: another loss shares its graph. `ends`: what the
    loss was computed of, that of all packs together; where they are leaves, `run` gives what they stand for.
    some_zero: packs through which nothing flows are worth looking for."""
    if distributed.size() > 1:
        # Every process has the whole loss but a gradient through its own share only; the shards' gradients
        # are averaged, which makes a sum of them. A process without a share takes part all the same.
        loss = loss * distributed.size() + 0.0 * sum(each.sum() for each in ends)
    loss.backward(retain_graph=again)
    if not ends[0].is_leaf:
        return
    sizes = [len(pack.at_N) for pack in layout.packs]
    slopes = [(None,) * len(sizes) if each.grad is None else each.grad.split(sizes) for each in ends]
    for each in ends:
        each.grad = None

    def reached(number: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """What a pack put out and the slopes there; nothing flows through the packs of another loss's part."""
        own = [slope[number] for slope in slopes]
        if some_zero and not any(each is not None and each.any() for each in own):
            return [], []
        pairs = [(out, each) for out, each in zip(run(number), own, strict=True) if each is not None]
        return [out for out, _ in pairs], [each for _, each in pairs]

    parameters = [p for p in model.parameters() if p.requires_grad]
    num_bytes = len(sizes) * sum(p.numel() * p.element_size() for p in parameters)
    if in_pieces or num_bytes > COPIED_BYTES:
        for number in range(len(sizes)):
            outputs, slope = reached(number)
            if outputs:
                torch.autograd.backward(outputs, slope, retain_graph=again)
        return

    def gradient(number: int) -> Sequence[torch.Tensor | None]:
        outputs, slope = reached(number)
        if not outputs:
            return [None] * len(parameters)
        return torch.autograd.grad(outputs, parameters, slope, retain_graph=again, allow_unused=True)

    for found in each_pack(model, layout, gradient):  # added in their order, whichever was ready first
        for parameter, own in zip(parameters, found, strict=True):
            if own is not None:
                parameter.grad = own if parameter.grad is None else parameter.grad + own


def accumulation_batches(
    method: Method, rows_by_part: dict[str, list[Encoded]], device: torch.device | str
) -> list[dict[str, list[Encoded]]]:
    """The step's sequences in batches whose gradients are accumulated, where the method's losses allow it
    (`Traits.additive`) and a CPU computes: the activations of one batch at a time, and no pass more."""
    if not method.traits.additive or torch.device(device).type != "cpu" or distributed.size() > 1:
        return [rows_by_part]
    num_tokens = sum(len(row.ids) for part in rows_by_part.values() for row in part)
    number = max(1, min(-(-num_tokens // ACCUMULATION_TOKENS), *(len(part) for part in rows_by_part.values())))
    # By turns, so that each batch has its share of every part and of the long texts.
    return [{name: part[at::number] for name, part in rows_by_part.items()} for at in range(number)]


def sum_of_losses(batches: Sequence[Losses]) -> Losses:
    """The losses of a step from those of its accumulation batches."""
    if len(batches) == 1:
        return batches[0]
    names = ("total", "forget", "retain")
    return Losses(*(sum(getattr(batch, name).detach() for batch in batches) for name in names))
