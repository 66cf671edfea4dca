"""PCGU: change the few weight vectors in which a true answer and another one pull apart most.

Legend: R rows of all matrices, the weight vectors; D width of a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from unlearn_core.data.encode import Encoded
from unlearn_core.methods.base import Context, Edit, EditedUnit, Info, parameter
from unlearn_core.methods.losses import summed_gradients
from unlearn_core.models.architecture import UNKNOWN, mlp_outputs
from unlearn_core.models.inference.forward import token_nll

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_CHUNK = 32  # sequences in one pass


@dataclass(frozen=True)
class PCGU(Edit):
    info = Info(
        name="pcgu",
        title="PCGU (partitioned contrastive gradients)",
        family="editing",
        taxonomy="local weights",
        idea="Compares, weight vector by weight vector, the gradient of the true answer with that of "
        "somebody else's answer to the same question, and moves only those where the two agree least.",
        formula="theta_r -= rate |theta_r| (g_true - g_other) / |g_true - g_other|, g = gradient of the "
        "answer tokens' mean logit, for the share of rows r with the lowest cosine",
        paper="Yu et al. 2023, Unlearning Bias by Partitioning Gradients, findings-acl.375",
        cost=1.25,
        needs=frozenset({"forget", "retain"}),
        caution="Nothing holds the rest: on the bundled world retained answers fade almost as fast. "
        "Only the MLP output matrices are changed here, by a share of their norm; the paper partitions all "
        "and takes plain steps.",
    )

    steps: int = parameter(4, "Passes over the forget set", 1, 1000)
    share: float = parameter(0.1, "Share of the weight vectors that may change", 0.0, 1.0)
    rate: float = parameter(0.15, "Length of a step, as a share of the changed weights' norm", 0.0, 100.0)

    def supports(self, model: PreTrainedModel) -> str | None:
        return None if mlp_outputs(model) else UNKNOWN

    def prepare(self, context: Context) -> None:
        for module in mlp_outputs(context.model).values():
            module.weight.requires_grad_(True)  # the loop puts the flags back at the end

    def units(self, context: Context) -> Iterator[EditedUnit]:
        true = context.parts["forget"].rows
        other = swapped(true, context.parts["retain"].rows)
        weights = {name: module.weight for name, module in mlp_outputs(context.model).items()}
        for _ in range(context.num_steps):
            true_g, nll = logit_gradients(context, true, weights)
            other_g, _ = logit_gradients(context, other, weights)
            chosen = least_alike(true_g, other_g, self.share)
            differences = {name: (true_g[name] - other_g[name])[rows] for name, rows in chosen.items()}
            size = _norm(weights[name].detach()[rows] for name, rows in chosen.items())
            length = self.rate * size / max(_norm(differences.values()), 1e-12)
            for name, rows in chosen.items():
                new = weights[name].detach()[rows] - length * differences[name]
                context.edits.put(name, rows, new)
            tokens = sum(len(row.ids) for row in (*true, *other))
            yield EditedUnit({"total": nll, "forget": nll}, sum(map(len, chosen.values())), tokens)


def least_alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], share: float) -> dict[str, torch.Tensor]:
    """By matrix, the rows of all matrices whose gradients have the lowest cosine; never rows without any."""
    cosine_R = torch.cat([F.cosine_similarity(one[name], other[name], dim=-1) for name in one])
    silent_R = torch.cat([((one[n] - other[n]) == 0).all(-1) for n in one])
    cosine_R = cosine_R.masked_fill(silent_R, torch.inf)
    count = min(round(share * len(cosine_R)), int((~silent_R).sum()))
    chosen_R = torch.zeros_like(silent_R)
    chosen_R[cosine_R.topk(count, largest=False).indices] = True
    parts = chosen_R.split([len(one[name]) for name in one])
    return {name: part.nonzero()[:, 0] for name, part in zip(one, parts, strict=True)}


def swapped(rows: Sequence[Encoded], donors: Sequence[Encoded]) -> list[Encoded]:
    """Each row's prompt with the answer of a donor, cut to the length of its own where it is longer."""
    found = []
    for place, row in enumerate(rows):
        donor = donors[place % len(donors)]
        answer = donor.ids[donor.num_prompt :][: row.num_targets]
        found.append(Encoded((*row.ids[: row.num_prompt], *answer), row.num_prompt, row.index))
    return found


def logit_gradients(
    context: Context, rows: Sequence[Encoded], weights: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], float]:
    """Gradient of the mean logit of the answer tokens, and their mean NLL.

    Logits and not the loss, whose gradient vanishes on what is known by heart.
    """
    nll, num_targets = 0.0, sum(row.num_targets for row in rows)

    def means() -> Iterator[torch.Tensor]:
        nonlocal nll
        for at in range(0, len(rows), _CHUNK):
            part = context.current.predictions(rows[at : at + _CHUNK])
            nll += token_nll(part).sum().item() / num_targets
            yield part.logits_NV.gather(1, part.labels_N[:, None]).sum() / num_targets

    return summed_gradients(weights, means()), nll


def _norm(tensors: Iterable[torch.Tensor]) -> float:
    norm: float = sum(tensor.float().square().sum().item() for tensor in tensors) ** 0.5
    return norm
