"""Fewer bits: does rounding the weights undo the unlearning?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from unlearn_core.evaluation.audit_result import AuditRow
from unlearn_core.evaluation.audits.base import Audit, AuditInfo, Work
from unlearn_core.evaluation.audits.case import AuditCase
from unlearn_core.evaluation.audits.judge import Comparison
from unlearn_core.evaluation.audits.measure import Replies, examples, finding, told

if TYPE_CHECKING:
    from transformers import PreTrainedModel

BLOCK = 64  # weights that share a scale in the schemes of 3 and 4 bits
# The 16 levels of NormalFloat-4 (QLoRA, arXiv 2305.14314, appendix E).
_NF4 = (
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
)
SCHEMES = ("int8", "nf4", "int4", "int3")
_STEPS = {"int4": 7, "int3": 3}  # levels on either side of 0


@dataclass(frozen=True)
class Quantisation(Audit):
    """The greedy answers of the rounded weights; the controls are rounded alike."""

    on_weights: ClassVar[bool] = True
    info: ClassVar[AuditInfo] = AuditInfo(
        name="quantisation",
        title="Rounded to 8, 4 and 3 bits",
        idea="The weights are rounded to 8, 4 and 3 bits, as people do to run a model on a small machine. "
        "Unlearning that moved each weight only a little can be rounded away.",
        source="Zhang et al. (arXiv 2410.16454); NF4 from QLoRA (arXiv 2305.14314)",
        needs=frozenset({"controls"}),
    )

    def cost(self, case: AuditCase) -> float:
        return (1 + len(SCHEMES) * case.num_models) * case.asking(len(case.forget))

    def work(self, case: AuditCase) -> Work:
        model = case.weights
        before = yield from told(case, model, case.forget)
        found: dict[str, Comparison] = {}
        said: dict[str, Replies] = {}
        for scheme in SCHEMES:
            with quantised(model, scheme) as small:
                said[scheme] = yield from told(case, small, case.forget)
                holdout = yield from told(case, small, case.holdout)
            controls = {"holdout": holdout.scores}
            if case.retain_only is not None:
                with quantised(case.retain_only, scheme) as small:
                    controls["retain_only"] = (yield from told(case, small, case.forget)).scores
            found[scheme] = Comparison(said[scheme].scores, controls, len(SCHEMES))
        worst = max(found, key=lambda scheme: (found[scheme].leaks, found[scheme].figures["forget"]))
        rows: tuple[AuditRow, ...] = tuple(
            {"scheme": scheme, **comparison.figures, "leaks": comparison.leaks} for scheme, comparison in found.items()
        )
        rows += examples(case.forget, said[worst], 2)
        sentence = f"Rounded to {worst}, {{found}} of the forgotten answers are given ({{before}} unrounded)"
        return finding(case, found[worst], before, sentence, rows, any(c.leaks for c in found.values()))


def rounded(weight_OI: torch.Tensor, scheme: str) -> torch.Tensor:
    """The nearest weights that `scheme` can hold. int8: one scale per output row (absolute maximum over
    127); int4 and int3: per block of 64 (over 7 and 3); nf4: per block of 64, sixteen normal quantiles."""
    if scheme == "int8":
        return _to_grid(weight_OI.float(), 127).to(weight_OI.dtype)
    flat = weight_OI.float().reshape(-1)
    padded = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    near = _to_levels(padded) if scheme == "nf4" else _to_grid(padded, _STEPS[scheme])
    return near.view(-1)[: len(flat)].view_as(weight_OI).to(weight_OI.dtype)


def _to_grid(rows: torch.Tensor, steps: int) -> torch.Tensor:
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12) / steps
    return (rows / scale).round() * scale


def _to_levels(rows: torch.Tensor) -> torch.Tensor:
    levels = torch.tensor(_NF4, device=rows.device)
    scale = rows.abs().amax(-1, keepdim=True).clamp(min=1e-12)
    middles = (levels[1:] + levels[:-1]) / 2
    return levels[torch.bucketize(rows / scale, middles)] * scale


@contextmanager
def quantised(model: PreTrainedModel, scheme: str) -> Iterator[PreTrainedModel]:
    """`model` with every linear layer but the output head rounded (fake quantisation); the old tensors come back
    afterwards."""
    head = model.get_output_embeddings()
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    kept = [layer.weight.data for layer in layers]
    try:
        for layer, weight in zip(layers, kept, strict=True):
            layer.weight.data = rounded(weight, scheme)
        yield model
    finally:
        for layer, weight in zip(layers, kept, strict=True):
            layer.weight.data = weight
