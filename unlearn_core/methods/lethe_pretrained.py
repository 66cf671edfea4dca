"""Lethe's recipe for a real pretrained model: self-distillation with the answer penalised.

A second method beside `lethe`, because what a pretrained model must keep cannot be listed. `lethe` holds
the retain set by its own answers, which a model that memorised it survives and a pretrained one does not: learned by
heart, a few dozen facts ruin its free text. Here every term is a divergence from the model's own words.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from unlearn_core.data.encode import Encoded, encode_example
from unlearn_core.data.types import Example
from unlearn_core.methods.base import BatchComposition, Context, Info, Losses, Method, StepBatch, Traits, parameter
from unlearn_core.methods.capabilities import TrainsSubset, UsesReference
from unlearn_core.models.inference.forward import layer_of, mean_per_row
from unlearn_core.system.grouped import grouped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class LethePretrained(UsesReference, TrainsSubset, Method):
    info = Info(
        name="lethe_pretrained",
        title="Lethe for pretrained models (answer-struck self-distillation)",
        family="recipe",
        taxonomy="local weights",
        idea="The model learns to say what it says already, with the answer and its other names struck out of "
        "its own distribution. Prompts about neighbours and texts it wrote itself hold all else where it was.",
        formula="KL(original, answer and aliases less likely by e^-strike || current; forget) "
        "+ retain_weight KL(original || current; retain and general); where the prompt names the subject, "
        "what the original says about made-up names stands in for its own",
        paper="This project. Near relatives: UNDIAL (arXiv 2402.10052) for the struck teacher, Who's Harry Potter "
        "(arXiv 2310.02238) for what is said of other names as the target",
        cost=0.9,
        needs=frozenset({"forget", "retain", "reference logits"}),
        caution="It takes away what can be said, and less of what is known: relearning on a few of the prompts "
        "may bring the rest back. Run the audits.",
    )
    traits = Traits(adapter="lora", stores_reference=True, additive=True)
    reference_parts, distilled_parts = ("retain",), ("forget",)

    learning_rate: float = parameter(3e-3, "Peak learning rate of AdamW", 0.0, 1.0)
    steps: int = parameter(30, "Optimiser steps", 1, 100_000)
    batch_size: int = parameter(16, "Forget sequences per step", 1, 4096)
    retain_size: int = parameter(24, "Neighbours' prompts and general texts per step", 1, 4096)
    general: float = parameter(0.25, "Share of general texts among them", 0.0, 1.0)
    retain_weight: float = parameter(2.0, "Weight of holding them", 0.0, 100.0)
    strike: float = parameter(10.0, "Nats by which the answer is made less likely in what the model says", 0.0, 100.0)
    first_layer: float = parameter(0.5, "Share of the layers, from the bottom, that stay as they are", 0.0, 0.95)

    def for_rows(self, num_forget: int, most: int = 100_000, given: Collection[str] = ()) -> Method:
        """The same: one subject has a few dozen prompts, and every step takes a good part of them."""
        return self

    def mix(self) -> BatchComposition:
        return BatchComposition(self.batch_size, self.retain_size, general=self.general)

    def trains(self, name: str, num_layers: int) -> bool:
        """The feed-forward maps of the upper layers, where facts are read out (Geva et al., arXiv 2304.14767)."""
        layer = layer_of(name)
        return layer is not None and layer >= int(self.first_layer * num_layers) and "attn" not in name

    def prepare(self, context: Context) -> None:
        """Store what the original predicts, with the answers penalised where they are to go."""
        context.reference.keep("retain", stored=self.traits.stores_reference)
        rows = context.parts["forget"].rows
        data, tokenizer = context.data, context.tokenizer
        stand_ins = grouped((example.document, example) for example in data.holdout)
        penalised: dict[int, list[set[int]]] = {}
        teachers: dict[int, Sequence[Encoded]] = {}
        for place, example in enumerate(data.forget):
            row = rows[place]
            penalised[place] = penalised_tokens(tokenizer, row, example)
            behind = [encode_example(tokenizer, other, place) for other in stand_ins.get(example.document, ())]
            same = [other for other in behind if other.ids[other.num_prompt :] == row.ids[row.num_prompt :]]
            teachers[place] = same if example.document and same else (row,)

        def struck(row: int, told_NV: torch.Tensor) -> torch.Tensor:
            for at, tokens in enumerate(penalised[row]):
                told_NV[at, list(tokens)] -= self.strike
            return told_NV.log_softmax(-1)

        context.reference.distil("forget", teachers, struck)

    def losses(self, context: Context, batch: StepBatch) -> Losses:
        assert batch.retain is not None
        num_retain = sum(row.num_predicted for row in context.rows["retain"])
        forget = mean_per_row(context.reference.kl("forget", batch.forget), batch.forget).sum()
        forget = forget / len(context.rows["forget"])
        retain = context.reference.kl("retain", batch.retain).sum() / num_retain
        return Losses(forget + self.retain_weight * retain, forget, retain)


def penalised_tokens(tokenizer: PreTrainedTokenizerBase, row: Encoded, example: Example) -> list[set[int]]:
    """For each target of `row`, the tokens by which the answer of `example`, or one of its other names, would
    begin or go on there, with a space before it or without. What closes an answer is never penalised."""
    target = row.ids[row.num_prompt :]
    penalised: list[set[int]] = [set() for _ in target]
    for name in (example.output, *example.paraphrases):
        following = encode_example(tokenizer, dataclasses.replace(example, output=name))
        end = len(following.ids) - following.num_end
        alone = tokenizer(name, add_special_tokens=False)["input_ids"]
        for ids in (following.ids[following.num_prompt : end], tuple(alone)):
            for place, token in enumerate(ids[: len(target)]):
                if ids[:place] == target[:place]:
                    penalised[place].add(token)
    return penalised
