"""Parametric knowledge traces: what single neurons write, as words, before and after unlearning.

Hong et al. 2024 (ConceptVectors), arXiv 2406.11614: a column of an MLP's output matrix is a value vector;
its largest entries in vocabulary space are the words it writes. A method that erases changes the vectors
that held the forgotten facts, one that hides leaves them. The authors picked vectors by hand with GPT-4;
here they are those that add most to the forgotten answers and least to the retained ones.

Legend: P value vectors, N neurons of a layer, T answer positions, D hidden, V vocabulary, K words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from unlearn_core.data.encode import IGNORED, Encoded, collate, encode_example, pad_id_of
from unlearn_core.data.jaccard import jaccard
from unlearn_core.errors import InputError
from unlearn_core.models.adapters import NAME
from unlearn_core.models.architecture import UNKNOWN, behind_mlp, mlp_outputs
from unlearn_core.models.inference.forward import layers, unwrap

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from unlearn_core.data.types import Example, UnlearningData

NUM_WORDS = 200  # K, as the authors'
SHOWN_WORDS = 8
NUM_VECTORS = 12  # of each of the two sets
MAX_ROWS = 64  # of a set, to find them by
_CHUNK = 16
VectorPosition = tuple[str, int, int, float]  # set, layer, neuron, and its gain as in `Trace`


@dataclass(frozen=True, slots=True)
class Trace:
    """One value vector in two models.

    gain: what it adds to the logit of this set's answer tokens beyond the other set's, mean per token.
    cosine and distance (norm of the difference over that of the original) compare the vectors; overlap is
    the Jaccard index of their NUM_WORDS first words. `before` and `after` are the first SHOWN_WORDS.
    """

    split: str  # "forget", or "retain" for comparison
    layer: int
    neuron: int
    gain: float
    cosine: float
    distance: float
    overlap: float
    before: tuple[str, ...]
    after: tuple[str, ...]


@dataclass(frozen=True)
class VectorReadings:
    """The vectors (P, D) of one model at some places, and the tokens (P, K) each puts first."""

    vectors_PD: torch.Tensor
    tokens_PK: torch.Tensor


def find(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: UnlearningData,
    count: int = NUM_VECTORS,
    seed: int = 0,
) -> list[VectorPosition]:
    """The `count` value vectors that add most to the answers of each set and least to the other's.

    Each is scored by direct logit attribution, mean of activation x (unembedding of the answer token .
    vector), less the same on the other set. InputError for an architecture whose neurons are not known.
    """
    if not mlp_outputs(model):
        raise InputError("model", type(model).__name__, UNKNOWN, "Choose another run.")
    if not (data.forget and data.retain):
        raise InputError("data", data.name, "lacks a forget or a retain set", "Choose a run that had both.")
    pad = pad_id_of(tokenizer)
    gains = [attribution(model, _encoded(tokenizer, rows, seed), pad) for rows in (data.forget, data.retain)]
    found: list[VectorPosition] = []
    for split, gain in (("forget", gains[0] - gains[1]), ("retain", gains[1] - gains[0])):
        top = gain.flatten().topk(min(count, gain.numel()))
        places = (divmod(int(at), gain.shape[1]) for at in top.indices)
        found += [(split, *place, float(value)) for place, value in zip(places, top.values, strict=True)]
    return found


@torch.no_grad()
def attribution(model: PreTrainedModel, rows: Sequence[Encoded], pad_id: int) -> torch.Tensor:
    """What each neuron (L, N) adds to the logits of the rows' answer tokens, mean over the tokens.

    Through the gain of a norm behind the MLP, if there is one, but not through the last norm.
    """
    head_VD = model.get_output_embeddings().weight.float()
    outputs = mlp_outputs(model)
    sums = [torch.zeros(module.weight.shape[1], device=model.device) for module in outputs.values()]
    vectors = [_values(model, layer).float() for layer in range(len(outputs))]
    seen: dict[str, torch.Tensor] = {}
    count = 0
    with ExitStack() as stack:
        for name, module in outputs.items():
            stack.callback(module.register_forward_pre_hook(_remember(seen, name)).remove)
        for at in range(0, len(rows), _CHUNK):
            batch = collate(rows[at : at + _CHUNK], pad_id).to(model.device)
            unwrap(model)(
                input_ids=batch.input_ids_BT,
                attention_mask=batch.attention_mask_BT,
                use_cache=False,
                logits_to_keep=1,
            )
            labels_BT = batch.labels_BT[:, 1:]
            wanted_BT = labels_BT != IGNORED
            wanted_TD = head_VD[labels_BT[wanted_BT]]
            count += len(wanted_TD)
            for layer, name in enumerate(outputs):
                active_TN = seen[name][:, :-1][wanted_BT].float()
                sums[layer] += (active_TN * (wanted_TD @ vectors[layer])).sum(0)
    return torch.stack(sums) / max(1, count)


def read(model: PreTrainedModel, places: Sequence[VectorPosition]) -> VectorReadings:
    """The vectors at `places` in `model`, as they act: an adapter's change is part of them."""
    head_VD = model.get_output_embeddings().weight.detach().float()
    vectors_PD = torch.stack([_values(model, layer)[:, neuron].float() for _, layer, neuron, _ in places])
    tokens_PK = (vectors_PD @ head_VD.T).topk(min(NUM_WORDS, len(head_VD))).indices
    return VectorReadings(vectors_PD.cpu(), tokens_PK.cpu())


def compare(
    places: Sequence[VectorPosition], before: VectorReadings, after: VectorReadings, tokenizer: PreTrainedTokenizerBase
) -> list[Trace]:
    """One record for each place."""
    cosines = F.cosine_similarity(before.vectors_PD, after.vectors_PD, dim=-1).clamp(-1.0, 1.0).tolist()
    change_P = (after.vectors_PD - before.vectors_PD).norm(dim=-1)
    distances = (change_P / before.vectors_PD.norm(dim=-1).clamp(min=1e-12)).tolist()
    found = []
    for row, (split, layer, neuron, gain) in enumerate(places):
        words = [reading.tokens_PK[row].tolist() for reading in (before, after)]
        first = [tuple(str(tokenizer.decode([token])) for token in tokens[:SHOWN_WORDS]) for tokens in words]
        found.append(Trace(split, layer, neuron, gain, cosines[row], distances[row], jaccard(*map(set, words)), *first))
    return found


def summary(found: Sequence[Trace]) -> dict[str, dict[str, float]]:
    """Means by set of what `Trace` compares."""
    means: dict[str, dict[str, float]] = {}
    for split in dict.fromkeys(trace.split for trace in found):
        own = [trace for trace in found if trace.split == split]
        means[split] = {
            name: sum(getattr(trace, name) for trace in own) / len(own) for name in ("cosine", "distance", "overlap")
        }
    return means


def _values(model: PreTrainedModel, layer: int) -> torch.Tensor:
    """The value vectors (D, N) of a layer as they reach the residual stream, but for a scale."""
    module: Any = list(mlp_outputs(model).values())[layer]
    matrix_DN: torch.Tensor = module.weight.detach()
    if hasattr(module, "get_delta_weight") and not module.disable_adapters:
        change_DN: torch.Tensor = module.get_delta_weight(NAME)
        matrix_DN = matrix_DN + change_DN.detach()
    behind: Any = behind_mlp(layers(model)[layer])
    return matrix_DN if behind is None else matrix_DN * behind.weight.detach()[:, None]


def _encoded(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Example], seed: int) -> list[Encoded]:
    chosen = random.Random(seed).sample(list(rows), min(MAX_ROWS, len(rows)))
    return [encode_example(tokenizer, row, place, 512) for place, row in enumerate(chosen)]


def _remember(seen: dict[str, torch.Tensor], name: str) -> Callable[[torch.nn.Module, tuple[torch.Tensor, ...]], None]:
    def hook(module: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        seen[name] = args[0].detach()

    return hook
