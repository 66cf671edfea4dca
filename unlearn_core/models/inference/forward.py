"""One teacher-forced pass that sends only labelled positions through the output head.

With a vocabulary of 50,304 the head dominates memory; prompts and padding never need it, and where the
logits of all labelled positions would still be large, losses go through them a block at a time.
Legend: B sequences, T positions, N labelled positions laid end to end, D hidden, V vocabulary.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unlearn_core.data.encode import IGNORED, Batch
from unlearn_core.errors import InputError
from unlearn_core.models.inference.inference_wrapper import front_of
from unlearn_core.models.inference.positions import max_positions, scaled_from
from unlearn_core.models.inference.trials import holds, plain_logits, remembered, same, sample_ids
from unlearn_core.system.machine import distributed
from unlearn_core.system.machine.gpu import send

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TokenMeasure = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # logits (N, V) and labels (N,) to (N,)
BLOCK_BYTES = 128 * 2**20  # float32 logits in memory at a time where they are not held in full


@dataclass(frozen=True)
class HiddenStates:
    """Hidden states (n, D) just below the output head: of all N positions, or of this process's share.

    Process r of a team has the positions `bounds[r]` to `bounds[r + 1]`; what is asked for comes back for
    all N, with a slope for its own.
    """

    hidden_ND: torch.Tensor
    head: Callable[[torch.Tensor], torch.Tensor]
    bounds: tuple[int, ...]

    @property
    def own(self) -> slice:
        """The positions whose hidden states are here."""
        return slice(self.bounds[distributed.rank()], self.bounds[distributed.rank() + 1])

    def part(self, start: int, stop: int) -> HiddenStates:
        """The positions `start` to `stop` - 1."""
        bounds = tuple(min(max(bound, start), stop) - start for bound in self.bounds)
        first = self.bounds[distributed.rank()]
        own = slice(max(start - first, 0), max(stop - first, 0))
        return HiddenStates(self.hidden_ND[own], self.head, bounds)

    def at(self, places: Sequence[int]) -> HiddenStates:
        """Some positions, ascending."""
        own = [place - self.own.start for place in places if self.own.start <= place < self.own.stop]
        bounds = tuple(bisect_left(places, bound) for bound in self.bounds)
        return HiddenStates(self.hidden_ND[_there(own, self.hidden_ND.device)], self.head, bounds)

    @cached_property
    def logits_NV(self) -> torch.Tensor:
        return distributed.gather_rows(self.head(self.hidden_ND), self.bounds)

    def per_token(self, measure: TokenMeasure, labels_N: torch.Tensor) -> torch.Tensor:
        """What `measure` makes of the logits (N,) for the labels; no more than BLOCK_BYTES of them exist at a time.

        The backward pass computes each block again: one head's forward more, against N x V values kept.
        """
        labels_n = labels_N[self.own]
        vocabulary = getattr(self.head, "out_features", None) or self.hidden_ND.shape[1]
        size = max(1, BLOCK_BYTES // (4 * vocabulary))
        blocks = zip(self.hidden_ND.split(size), labels_n.split(size), strict=True)

        def measured(hidden_ND: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
            return measure(self.head(hidden_ND).float(), labels_N)

        value_n = torch.cat([checkpoint(measured, *block, use_reentrant=False) for block in blocks])
        return distributed.gather_rows(value_n, self.bounds)


class HostIndex(NamedTuple):
    """What the device need not be asked for: the dataset row and the labelled positions of each sequence."""

    rows: tuple[int, ...]
    sizes: tuple[int, ...]


@dataclass(frozen=True)
class AnswerPredictions:
    """Next-token predictions at the labelled positions of some rows, from one forward pass.

    `row_N` numbers the sequence (0..B-1) each position belongs to; `index_B` the dataset row of each
    sequence.
    """

    prediction: torch.Tensor | HiddenStates  # the logits (N, V), or what gives them on demand
    labels_N: torch.Tensor
    row_N: torch.Tensor
    index_B: torch.Tensor
    known: HostIndex | None = None
    states_BLD: torch.Tensor | None = None  # of the layers that the method reads besides (`ReadsStates`)

    @cached_property
    def host(self) -> HostIndex:
        """Index and sizes on the host, asked of the device where nobody said them."""
        if self.known is not None:
            return self.known
        sizes = torch.bincount(self.row_N, minlength=self.num_rows)
        return HostIndex(tuple(self.index_B.tolist()), tuple(sizes.tolist()))

    def places(self, keep: Sequence[bool]) -> list[int]:
        """The labelled positions of the sequences to `keep`, ascending."""
        starts = accumulate(self.host.sizes, initial=0)
        spans = zip(starts, self.host.sizes, keep, strict=False)
        return [place for start, size, kept in spans if kept for place in range(start, start + size)]

    @property
    def logits_NV(self) -> torch.Tensor:
        """All logits (N, V); `token_nll` does without them where they are large."""
        return self.prediction if isinstance(self.prediction, torch.Tensor) else self.prediction.logits_NV

    @property
    def num_rows(self) -> int:
        return int(self.index_B.shape[0])

    @property
    def hidden_ND(self) -> torch.Tensor:
        """The same values, for a pass that ended at a layer: its hidden states in place of the logits."""
        return self.logits_NV

    def only(self, keep: Sequence[bool]) -> AnswerPredictions:
        """The sequences to `keep`, renumbered."""
        device, places = self.labels_N.device, self.places(keep)
        index, sizes = ([one for one, kept in zip(part, keep, strict=True) if kept] for part in self.host)
        rows = [row for row, size in enumerate(sizes) for _ in range(size)]
        here = [place for place, kept in enumerate(keep) if kept]
        told = [torch.tensor(part, dtype=torch.long) for part in (places, rows, index, here)]
        place_N, row_N, index_B, here_B = send(told, device)
        whole = isinstance(self.prediction, torch.Tensor)
        prediction = self.prediction[place_N] if whole else self.prediction.at(places)  # type: ignore[index,union-attr]
        return AnswerPredictions(
            prediction,
            self.labels_N[place_N],
            row_N,
            index_B,
            HostIndex(tuple(index), tuple(sizes)),
            None if self.states_BLD is None else self.states_BLD[here_B],
        )


def _there(numbers: Sequence[int], device: torch.device) -> torch.Tensor:
    return send([torch.tensor(numbers, dtype=torch.long)], device)[0]


def answers(model: PreTrainedModel, batch: Batch) -> AnswerPredictions:
    """Predictions of `model` at the labelled positions of a right-padded batch."""
    hidden_ND, head, labels_N, row_N = unheaded(model, batch)
    return AnswerPredictions(head(hidden_ND), labels_N, row_N, batch.index_B)


def unheaded(
    model: PreTrainedModel, batch: Batch
) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor], torch.Tensor, torch.Tensor]:
    """Hidden states (N, D) at the labelled positions, the head to put on them, labels (N,), rows (N,).

    Where a model changes its logits after the head, those are the hidden states and the head is nothing.
    """
    # Position t predicts the token at t + 1, so label t + 1 selects hidden state t.
    labels_BT = batch.labels_BT[:, 1:]
    wanted_BT = labels_BT != IGNORED
    limit = max_positions(unwrap(model))
    if limit is not None and batch.input_ids_BT.shape[1] > limit:
        problem = f"is longer than the model's {limit:,} positions"
        raise InputError("row", f"{batch.input_ids_BT.shape[1]:,} tokens", problem, "Use shorter rows.")
    split = body_and_head(model)
    run, head = split or (unwrap(model), torch.nn.Identity())
    name = "logits" if split is None else "last_hidden_state"
    if stands_alone(model, labels_BT.shape[1] + 1):
        states = [_alone(model, run, name, ids_T) for ids_T in unpadded(batch)]
        states_BTD = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
    else:
        # No mask: padding is on the right, where no real position looks, and plain causal attention is faster.
        states_BTD = getattr(run(input_ids=batch.input_ids_BT, use_cache=False), name)
    return states_BTD[:, :-1][wanted_BT], head, labels_BT[wanted_BT], wanted_BT.nonzero()[:, 0]


def unpadded(batch: Batch) -> list[torch.Tensor]:
    """The tokens (T,) of each sequence."""
    lengths = batch.attention_mask_BT.sum(1).tolist()
    return [ids_T[:length] for ids_T, length in zip(batch.input_ids_BT, lengths, strict=True)]


def _alone(model: PreTrainedModel, run: torch.nn.Module, name: str, ids_T: torch.Tensor) -> torch.Tensor:
    rewind(model, len(ids_T))
    found: torch.Tensor = getattr(run(input_ids=ids_T[None], use_cache=False), name)[0]
    return found


def stands_alone(model: PreTrainedModel, length: int) -> bool:
    """Whether a row of this length must pass the model by itself: what stands beside it would change it."""
    inner = unwrap(model)
    return length > scaled_from(inner) or not holds(inner, "padding changes nothing", _padding_changes_nothing)


def rewind(model: PreTrainedModel, length: int) -> None:
    """Before a sequence of this length on its own: rotary frequencies as if none had come before.

    Dynamic scaling keeps those of the longest sequence so far until a short one passes.
    """
    inner = unwrap(model)
    if length > scaled_from(inner):
        with torch.no_grad():
            inner(input_ids=torch.tensor([sample_ids(inner, 1)], device=inner.device), use_cache=False)


def _padding_changes_nothing(model: PreTrainedModel) -> bool:
    ids = [sample_ids(model, length, 3 * length) for length in (5, 12)]
    together = torch.tensor([[*ids[0], *ids[0][:1] * 7], ids[1]], device=model.device)
    logits_BTV = model(input_ids=together, use_cache=False).logits
    return all(same(row[: len(own)], plain_logits(model, own)) for row, own in zip(logits_BTV, ids, strict=True))


def is_causal(model: PreTrainedModel) -> bool:
    """Whether what comes later leaves the predictions before it as they are."""

    def trial(inner: PreTrainedModel) -> bool:
        ids = sample_ids(inner, 12)
        return same(plain_logits(inner, ids)[:5], plain_logits(inner, ids[:5]))

    return holds(unwrap(model), "causal", trial)


def body_and_head(model: PreTrainedModel) -> tuple[torch.nn.Module, torch.nn.Module] | None:
    """The layers below the output head and the head; None where the two do not make the model's logits."""
    inner = unwrap(model)
    if front_of(inner).combines:
        return None
    if getattr(inner, "gives_hidden_states", False):  # sharded: its hooks want the whole model called
        return inner, inner.get_output_embeddings()
    body = getattr(inner, inner.base_model_prefix, None) or getattr(inner, "model", None)
    head = inner.get_output_embeddings()
    if body is None or head is None:
        return None
    same_logits = holds(inner, "head of body is logits", lambda inner: _head_of_body_is_logits(inner, body, head))
    return (body, head) if same_logits else None


def _head_of_body_is_logits(model: PreTrainedModel, body: torch.nn.Module, head: torch.nn.Module) -> bool:
    ids = sample_ids(model, 12)
    states_BTD = body(input_ids=torch.tensor([ids], device=model.device), use_cache=False).last_hidden_state
    ours_TV, theirs_TV = head(states_BTD)[0], plain_logits(model, ids)
    if not same(ours_TV, theirs_TV):
        return False
    # A cap bends only large logits, and a scale near 1 hides in the noise of half precision: where the two are
    # computed alike they agree to the last bits.
    off = (ours_TV.float() - theirs_TV.float()).abs().max()
    return bool(off <= 8 * torch.finfo(theirs_TV.dtype).eps * theirs_TV.float().abs().max())


def num_layers(model: PreTrainedModel) -> int:
    """Decoder layers of the model."""
    return int(model.config.get_text_config().num_hidden_layers)


def layers(model: PreTrainedModel) -> torch.nn.ModuleList:
    """The decoder layers, bottom first; InputError for an architecture that has no such list."""
    found = _layer_list(unwrap(model))
    if found is None:
        problem = "has no list of decoder layers, one after the other"
        raise InputError("target", type(unwrap(model)).__name__, problem, "Choose another method or model.")
    return found[1]


def above_layers(model: PreTrainedModel) -> torch.nn.Module:
    """The module that holds the list of decoder layers, and what comes before and after them."""
    inner = unwrap(model)
    found = _layer_list(inner)
    above: torch.nn.Module = inner.get_submodule(found[0].rpartition(".")[0]) if found else inner
    return above


def has_layers(model: PreTrainedModel) -> bool:
    """Whether a pass goes through the decoder layers one after the other, each passing on hidden states."""
    inner = unwrap(model)
    return _layer_list(inner) is not None and holds(inner, "layers in turn", _layers_in_turn)


def _layer_list(inner: PreTrainedModel) -> tuple[str, torch.nn.ModuleList] | None:
    """The list and its name. A tower beside the decoder may have as many layers: the decoder's come first."""

    def find(inner: PreTrainedModel) -> tuple[str, torch.nn.ModuleList] | None:
        names = {id(module): name for name, module in inner.named_modules()}
        lists = [
            module
            for root in (inner.get_decoder(), inner)
            for module in root.modules()
            if isinstance(module, torch.nn.ModuleList) and len(module) == num_layers(inner) and id(module) in names
        ]
        return (names[id(lists[0])], lists[0]) if lists else None

    return remembered(inner, "list of layers", find)


def _layers_in_turn(model: PreTrainedModel) -> bool:
    width = int(model.config.get_text_config().hidden_size)
    ids = torch.tensor([sample_ids(model, 6)], device=model.device)
    seen: list[tuple[int, bool]] = []

    def look(number: int) -> Callable[[torch.nn.Module, object, object], None]:
        def hook(module: torch.nn.Module, args: object, output: object) -> None:
            state = output[0] if isinstance(output, tuple) else output
            seen.append((number, isinstance(state, torch.Tensor) and tuple(state.shape) == (1, 6, width)))

        return hook

    with ExitStack() as hooks:
        for number, layer in enumerate(layers(model)):
            hooks.callback(layer.register_forward_hook(look(number)).remove)
        model(input_ids=ids, use_cache=False)
    return seen == [(number, True) for number in range(num_layers(model))]


def canonical_name(model: PreTrainedModel, name: str) -> str:
    """A parameter's name as methods choose by it: `layers.3.mlp.up_proj.weight` for a decoder layer's.

    What lies outside the decoder (a tower for pictures) has no layer, whatever its own lists are called.
    """
    found = _layer_list(unwrap(model))
    if found is not None and name.startswith(f"{found[0]}."):
        return "layers" + name[len(found[0]) :]
    return re.sub(r"\.\d+\.", ".", name)


def layer_of(name: str) -> int | None:
    """The layer a parameter belongs to, by its name; None for embeddings, last norm and head."""
    found = re.search(r"\.(?:layers|h|blocks)\.(\d+)\.", f".{name}")
    return int(found[1]) if found else None


def unwrap(model: Any) -> PreTrainedModel:
    """The transformers model inside a peft wrapper (its adapter layers stay in place), or the model."""
    inner: PreTrainedModel = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inner


def computing_dtype(model: PreTrainedModel) -> torch.dtype:
    """The type that `model` computes in, which need not be that of its weights (see `models.precision`)."""
    inner = unwrap(model)
    found: torch.dtype = getattr(inner, "computes_in", None) or inner.dtype
    return found


def device_of(model: PreTrainedModel) -> torch.device:
    """Where the model's inputs belong: where it computes, wherever its weights rest in between."""
    found: torch.device = getattr(unwrap(model), "computes_on", None) or next(model.parameters()).device
    return found


def token_nll(part: AnswerPredictions) -> torch.Tensor:
    """NLL (N,) of each labelled token in nats, computed in float32."""
    return per_token(partial(F.cross_entropy, reduction="none"), part)


def per_token(measure: TokenMeasure, part: AnswerPredictions) -> torch.Tensor:
    """What `measure` makes (N,) of the float32 logits and label of each labelled token."""
    if isinstance(part.prediction, HiddenStates):
        return part.prediction.per_token(measure, part.labels_N)
    return measure(part.logits_NV.float(), part.labels_N)


def sum_per_row(values_N: torch.Tensor, part: AnswerPredictions) -> torch.Tensor:
    """Sums (B,) of per-token values over each sequence."""
    zeros_B = values_N.new_zeros(part.num_rows)
    return zeros_B.index_add(0, part.row_N, values_N)


def tokens_per_row(part: AnswerPredictions) -> torch.Tensor:
    """Labelled tokens (B,) of each sequence, at least 1 so that it can divide."""
    return _there(part.host.sizes, part.row_N.device).clamp(min=1)


def mean_per_row(values_N: torch.Tensor, part: AnswerPredictions) -> torch.Tensor:
    """Means (B,) of per-token values over each sequence."""
    return sum_per_row(values_N, part) / tokens_per_row(part)
